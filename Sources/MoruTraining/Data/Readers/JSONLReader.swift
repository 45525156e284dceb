import MoruBase

/// Reads a JSONL file, one JSON object a line, without holding more than a line in memory.
///
/// Blank lines and a byte-order mark are skipped; lines may end in LF or CRLF.
public struct JSONLReader: RecordReader {
    private let file: MappedFile
    private var position = 0
    private var line = 0

    /// Opens a file.
    ///
    /// - Throws: ``MoruError/Code/fileNotFound`` or ``MoruError/Code/fileUnreadable``.
    public init(path: String) throws(MoruError) {
        file = try MappedFile(path: path)
        if file.bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
    }

    /// Where the file lies.
    public var path: String { file.path }

    /// The next object, or nil at the end of the file.
    ///
    /// - Throws: ``MoruError/Code/dataMalformed``, naming file, line and column. Reading may go on after it.
    public mutating func next() throws(MoruError) -> DataRecord? {
        while let bytes = nextLine() {
            guard !bytes.allSatisfy(Self.isBlank) else { continue }
            let value: JSON
            do {
                value = try JSON.parse(bytes, source: path, firstLine: line)
            } catch {
                throw MoruError(.dataMalformed, error.message, remedy: remedy(bytes))
            }
            guard value.object != nil else {
                throw MoruError(
                    .dataMalformed, "\(path), line \(line): \(value.kindName) where an object is expected",
                    remedy: remedy(bytes))
            }
            return DataRecord(place: DataPlace(path: path, line: line), value: value)
        }
        return nil
    }

    private mutating func nextLine() -> UnsafeRawBufferPointer? {
        guard position < file.bytes.count else { return nil }
        let rest = UnsafeRawBufferPointer(rebasing: file.bytes[position...])
        let length = rest.firstIndex(of: UInt8(ascii: "\n")) ?? rest.count
        position += length + 1
        line += 1
        return UnsafeRawBufferPointer(rebasing: rest[..<length])
    }

    private func remedy(_ bytes: UnsafeRawBufferPointer) -> String {
        bytes.first { !Self.isBlank($0) } == UInt8(ascii: "[")
            ? "the file looks like one JSON array: write its elements one a line, without brackets and commas"
            : "each line must be one whole JSON object"
    }

    private static func isBlank(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") || byte == UInt8(ascii: "\r")
    }
}
