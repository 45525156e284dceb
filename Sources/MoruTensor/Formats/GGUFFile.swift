import MoruBase

/// A GGUF file of version 2 or 3, little-endian, memory-mapped
/// (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
///
/// Header, metadata and tensor table are validated before a tensor is read: counts and lengths must fit the file,
/// tensors must be aligned, inside the file and apart from each other.
public final class GGUFFile: TensorSource {
    /// The version of the format.
    public let version: Int
    /// The key-value section: hyperparameters, vocabulary, chat template.
    public let metadata: Metadata
    /// What the tensors' offsets are multiples of, in bytes.
    public let alignment: Int
    private let tensors: MappedTensors

    /// Opens and validates a file.
    ///
    /// - Throws: ``MoruError/Code/ggufMalformed``, ``MoruError/Code/ggufTruncated``,
    ///   ``MoruError/Code/ggufUnsupported``, or what `MappedFile` throws.
    public init(path: String) throws(MoruError) {
        let file = try MappedFile(path: path)
        var cursor = GGUFCursor(file: file)
        version = try Self.readVersion(from: &cursor)
        let tensorCount = try cursor.count(bytesEach: 0, "the number of tensors")
        let metadataCount = try cursor.count(bytesEach: 13, "the number of metadata entries")
        guard tensorCount <= cursor.remaining / GGUFTensorTable.minimumEntryBytes else {
            throw cursor.truncated(
                "\(tensorCount) tensors do not fit the \(cursor.remaining) bytes that are left")
        }
        metadata = try GGUFMetadataReader.read(count: metadataCount, from: &cursor)
        alignment = try Self.alignment(metadata, cursor)
        if let parts = metadata["split.count"]?.int, parts > 1 {
            throw cursor.unsupported(
                "this is one of \(parts) parts of a split model",
                remedy: "merge the parts into one file with `llama-gguf-split --merge`")
        }
        let table = try GGUFTensorTable(count: tensorCount, from: &cursor)
        tensors = MappedTensors(file: file, infos: try table.infos(alignment: alignment, cursor: cursor))
    }

    /// The path given at opening.
    public var path: String { tensors.file.path }
    /// The names of the tensors, in the order of the file's table.
    public var names: [String] { tensors.names }
    /// What the table says of a tensor; the shape is in row-major order, GGUF's dimensions reversed.
    public func info(_ name: String) -> TensorInfo? { tensors.infos[name] }
    /// A tensor, as a view of the map.
    ///
    /// - Throws: ``MoruError/Code/tensorNotFound`` or ``MoruError/Code/ggufUnsupported``.
    public func tensor(_ name: String) throws(MoruError) -> Tensor {
        try tensors.tensor(name, unsupported: .ggufUnsupported)
    }

    static let magic = Array("GGUF".utf8)
    static let defaultAlignment = 32

    private static func readVersion(from cursor: inout GGUFCursor) throws(MoruError) -> Int {
        let bytes = cursor.bytes
        if isGitLFSPointer(bytes) {
            throw MoruError(
                .ggufMalformed, "\(cursor.path) is a Git LFS pointer, not the file itself",
                remedy: "fetch it with `git lfs pull`, or download it again")
        }
        let convert = "convert it to GGUF version 3 with a current llama.cpp, or download a current file"
        let start = bytes.prefix(4)
        if ["lmgg", "tjgg", "fmgg", "algg"].contains(where: { start.elementsEqual($0.utf8) }) {
            throw cursor.unsupported("an older GGML format, from before GGUF", remedy: convert)
        }
        if start.elementsEqual(magic.reversed()) { throw cursor.unsupported("big-endian GGUF", remedy: convert) }
        guard start.elementsEqual(magic) else {
            if bytes.count < 4 { throw cursor.truncated("\(bytes.count) bytes, too short for a header") }
            throw cursor.malformed("the file does not begin with \"GGUF\"")
        }
        cursor.skip(4)
        let version = try cursor.integer(UInt32.self, "the version")
        if version & 0xFFFF == 0, version != 0 { throw cursor.unsupported("big-endian GGUF", remedy: convert) }
        guard 2...3 ~= version else {
            throw cursor.unsupported("GGUF version \(version); Moru reads versions 2 and 3", remedy: convert)
        }
        return Int(version)
    }

    private static func alignment(_ metadata: Metadata, _ cursor: GGUFCursor) throws(MoruError) -> Int {
        guard let value = metadata["general.alignment"] else { return defaultAlignment }
        guard let alignment = value.int, 1...(1 << 20) ~= alignment, alignment & (alignment - 1) == 0 else {
            throw cursor.malformed("general.alignment must be a power of two of at most 1 MiB")
        }
        return alignment
    }
}
