import MoruBase

/// The tensor table of a GGUF file: names, shapes, types and offsets.
struct GGUFTensorTable {
    /// Name length, number of dimensions, type and offset of a scalar without a name.
    static let minimumEntryBytes = 24
    static let maximumRank = 4

    private struct Entry {
        let name: String
        let shape: [Int]
        let typeNumber: UInt32
        let offset: Int
        /// The size of the data; nil when the type is not known.
        let byteCount: Int?
    }

    private var entries: [Entry] = []
    private let tableEnd: Int

    /// Reads the table; offsets are checked in ``infos(alignment:cursor:)``.
    init(count: Int, from cursor: inout GGUFCursor) throws(MoruError) {
        var seen: Set<String> = []
        var entries: [Entry] = []
        entries.reserveCapacity(count)
        for number in 0..<count {
            let name = try cursor.string("the name of tensor \(number)")
            guard seen.insert(name).inserted else { throw cursor.malformed("tensor \"\(name)\" occurs twice") }
            entries.append(try Self.entry(named: name, from: &cursor))
        }
        self.entries = entries
        tableEnd = cursor.position
    }

    private static func entry(named name: String, from cursor: inout GGUFCursor) throws(MoruError) -> Entry {
        let rank = try cursor.integer(UInt32.self, "the number of dimensions of tensor \"\(name)\"")
        guard rank <= maximumRank else {
            throw cursor.malformed("tensor \"\(name)\" has \(rank) dimensions, more than \(maximumRank)")
        }
        var dimensions: [Int] = []
        for _ in 0..<rank {
            let size = try cursor.integer(UInt64.self, "a dimension of tensor \"\(name)\"")
            guard let exact = Int(exactly: size) else {
                throw cursor.malformed("tensor \"\(name)\" has a dimension of \(size)")
            }
            dimensions.append(exact)
        }
        let typeNumber = try cursor.integer(UInt32.self, "the type of tensor \"\(name)\"")
        let offset = try cursor.integer(UInt64.self, "the offset of tensor \"\(name)\"")
        guard let offset = Int(exactly: offset) else {
            throw cursor.malformed("tensor \"\(name)\" has the offset \(offset)")
        }
        guard let count = checkedCount(dimensions) else {
            throw cursor.malformed("tensor \"\(name)\": dimensions \(dimensions) have too many elements to count")
        }
        var byteCount: Int?
        if let type = GGUFTensorType.numbered(typeNumber) {
            guard (dimensions.first ?? 1) % type.blockElements == 0 else {
                throw cursor.malformed(
                    "tensor \"\(name)\": rows of \(dimensions.first ?? 1) elements are not a whole number of "
                        + "\(type.name) blocks of \(type.blockElements)")
            }
            let (bytes, overflow) = (count / type.blockElements).multipliedReportingOverflow(by: type.blockBytes)
            guard !overflow else {
                throw cursor.malformed("tensor \"\(name)\": dimensions \(dimensions) have too many bytes to count")
            }
            byteCount = bytes
        }
        return Entry(
            name: name, shape: dimensions.reversed(), typeNumber: typeNumber, offset: offset, byteCount: byteCount)
    }

    /// The tensors with their places in the file, in the order of the table.
    func infos(alignment: Int, cursor: GGUFCursor) throws(MoruError) -> [TensorInfo] {
        let dataStart = (tableEnd + alignment - 1) / alignment * alignment
        let dataCount = max(0, cursor.bytes.count - dataStart)
        var infos = [TensorInfo?](repeating: nil, count: entries.count)
        let order = entries.indices.sorted {
            (entries[$0].offset, entries[$0].byteCount ?? 1) < (entries[$1].offset, entries[$1].byteCount ?? 1)
        }
        var end = 0
        for (place, position) in order.enumerated() {
            let entry = entries[position]
            let what = "tensor \"\(entry.name)\" at offset \(entry.offset)"
            guard entry.offset % alignment == 0 else {
                throw cursor.malformed("\(what) is not aligned to \(alignment) bytes")
            }
            guard entry.offset >= end else {
                throw cursor.malformed("\(what) overlaps the tensor before it, which ends at \(end)")
            }
            // The data of an unknown type is taken to reach up to the next tensor.
            let next = place + 1 < order.count ? entries[order[place + 1]].offset : max(dataCount, entry.offset)
            let byteCount = entry.byteCount ?? next - entry.offset
            guard entry.offset <= dataCount, byteCount <= dataCount - entry.offset else {
                throw cursor.truncated("\(what) needs \(byteCount) bytes, beyond the \(dataCount) bytes of data")
            }
            end = entry.offset + byteCount
            let start = min(dataStart + entry.offset, cursor.bytes.count)
            let type = GGUFTensorType.numbered(entry.typeNumber)
            infos[position] = TensorInfo(
                name: entry.name, dtype: type?.dtype, format: type?.name ?? "ggml type \(entry.typeNumber)",
                shape: entry.shape, byteRange: start..<(start + byteCount))
        }
        return infos.compactMap { $0 }
    }
}
