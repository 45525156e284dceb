import MoruBase

/// A safetensors file, memory-mapped: `u64` header length, JSON header, data
/// (https://huggingface.co/docs/safetensors).
///
/// The whole header is validated before a tensor is read: offsets must lie in the file, follow each other without gap
/// or overlap, and match dtype and shape.
public final class SafetensorsFile: TensorSource {
    /// The longest header that is read, as in the reference implementation.
    public static let maximumHeaderBytes = 100_000_000

    /// Free-form texts of the header's `__metadata__`.
    public let metadata: [String: String]
    private let tensors: MappedTensors

    /// Opens and validates a file.
    ///
    /// - Throws: ``MoruError/Code/safetensorsMalformed``, ``MoruError/Code/safetensorsTruncated``, or what
    ///   `MappedFile` throws.
    public init(path: String) throws(MoruError) {
        let file = try MappedFile(path: path)
        let dataStart = try Self.headerEnd(of: file)
        let headerBytes = UnsafeRawBufferPointer(rebasing: file.bytes[8..<dataStart])
        let header = try SafetensorsHeader(headerBytes, path: path)
        metadata = header.metadata
        tensors = MappedTensors(file: file, infos: try Self.validated(header, dataStart: dataStart, file: file))
    }

    /// The path given at opening.
    public var path: String { tensors.file.path }
    /// The names of the tensors, in the order of their data.
    public var names: [String] { tensors.names }
    /// What the header says of a tensor.
    public func info(_ name: String) -> TensorInfo? { tensors.infos[name] }
    /// A tensor, as a view of the map; copied when its data is not aligned to its elements.
    ///
    /// - Throws: ``MoruError/Code/tensorNotFound`` or ``MoruError/Code/safetensorsUnsupportedDType``.
    public func tensor(_ name: String) throws(MoruError) -> Tensor {
        try tensors.tensor(name, unsupported: .safetensorsUnsupportedDType)
    }

    private static func headerEnd(of file: MappedFile) throws(MoruError) -> Int {
        let bytes = file.bytes
        if isGitLFSPointer(bytes) {
            throw MoruError(
                .safetensorsMalformed, "\(file.path) is a Git LFS pointer, not the file itself",
                remedy: "fetch it with `git lfs pull`, or download it again")
        }
        guard bytes.count >= 8 else {
            throw truncated(file, "\(bytes.count) bytes, too short for the header length")
        }
        let length = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
        guard length <= maximumHeaderBytes else {
            throw malformed(
                file, "a header of \(length) bytes is announced, more than the limit of \(maximumHeaderBytes)")
        }
        guard length <= bytes.count - 8 else {
            throw truncated(file, "the header should have \(length) bytes, only \(bytes.count - 8) are there")
        }
        return 8 + Int(length)
    }

    private static func validated(
        _ header: SafetensorsHeader, dataStart: Int, file: MappedFile
    ) throws(MoruError) -> [TensorInfo] {
        let dataCount = file.bytes.count - dataStart
        let entries = header.entries.sorted { ($0.begin, $0.end) < ($1.begin, $1.end) }
        var infos: [TensorInfo] = []
        infos.reserveCapacity(entries.count)
        var expected = 0
        for entry in entries {
            let place = "tensor \"\(entry.name)\" at data_offsets [\(entry.begin), \(entry.end)]"
            guard entry.begin <= entry.end else { throw malformed(file, "\(place) ends before it begins") }
            guard entry.begin == expected else {
                let what = entry.begin < expected ? "overlaps the tensor before it" : "leaves a gap before it"
                throw malformed(file, "\(place) \(what), which ends at \(expected)")
            }
            guard entry.end <= dataCount else {
                throw truncated(file, "\(place) reaches beyond the \(dataCount) bytes of data")
            }
            guard let count = checkedCount(entry.shape) else {
                throw malformed(file, "\(place): shape \(entry.shape) has too many elements to count")
            }
            if let bits = SafetensorsDType.bits(of: entry.format) {
                let (total, overflow) = count.multipliedReportingOverflow(by: bits)
                guard !overflow, total % 8 == 0, total / 8 == entry.end - entry.begin else {
                    throw malformed(
                        file,
                        "\(place) has \(entry.end - entry.begin) bytes, "
                            + "which is not \(entry.format) of shape \(entry.shape)")
                }
            }
            expected = entry.end
            infos.append(
                TensorInfo(
                    name: entry.name, dtype: SafetensorsDType.dtype(named: entry.format), format: entry.format,
                    shape: entry.shape, byteRange: (dataStart + entry.begin)..<(dataStart + entry.end)))
        }
        guard expected == dataCount else {
            throw malformed(file, "data after byte \(dataStart + expected), where the last tensor ends")
        }
        return infos
    }

    private static func malformed(_ file: MappedFile, _ what: String) -> MoruError {
        MoruError(
            .safetensorsMalformed, "\(file.path): \(what)",
            remedy: "the file is damaged or not safetensors: download or write it again")
    }

    private static func truncated(_ file: MappedFile, _ what: String) -> MoruError {
        MoruError(
            .safetensorsTruncated, "\(file.path) is incomplete: \(what)", remedy: "download the file again")
    }
}
