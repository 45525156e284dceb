import MoruBase

/// What a file says about one of its tensors.
public struct TensorInfo: Sendable, Hashable {
    /// The tensor's name in the file.
    public let name: String
    /// How the elements are stored; nil when Moru does not compute with that format, see ``format``.
    public let dtype: DType?
    /// The format as the file calls it, such as `BF16`, `Q4_K` or `F8_E4M3`.
    public let format: String
    /// The size of each dimension, outermost first.
    public let shape: [Int]
    /// Where the data lies, counted from the start of the file.
    public let byteRange: Range<Int>

    /// Makes a description of a tensor.
    public init(name: String, dtype: DType?, format: String, shape: [Int], byteRange: Range<Int>) {
        self.name = name
        self.dtype = dtype
        self.format = format
        self.shape = shape
        self.byteRange = byteRange
    }

    /// The number of elements.
    public var count: Int { shape.reduce(1, *) }
}

/// Something that holds named tensors: a file, or a directory of files. Models are built from it.
public protocol TensorSource: Sendable {
    /// Where the tensors come from, for messages.
    var path: String { get }
    /// The names of the tensors, in the order of the file.
    var names: [String] { get }
    /// What is known of a tensor without reading it; nil when there is none of that name.
    func info(_ name: String) -> TensorInfo?
    /// A tensor, as a view of the mapped file wherever alignment allows.
    ///
    /// - Throws: ``MoruError/Code/tensorNotFound``, or an unsupported error when ``TensorInfo/dtype`` is nil.
    func tensor(_ name: String) throws(MoruError) -> Tensor
}

/// The tensors of one mapped file, whose places have been validated.
struct MappedTensors: Sendable {
    let file: MappedFile
    let names: [String]
    let infos: [String: TensorInfo]
    private let storage: Storage

    /// Takes over infos with unique names and byte ranges inside the file.
    init(file: MappedFile, infos: [TensorInfo]) {
        self.file = file
        names = infos.map(\.name)
        self.infos = Dictionary(infos.map { ($0.name, $0) }) { first, _ in first }
        storage = Storage(file: file, range: 0..<file.bytes.count)
    }

    /// A view of the map, or a copy where the file keeps the data at an address that the CPU cannot load from.
    func tensor(_ name: String, unsupported: MoruError.Code) throws(MoruError) -> Tensor {
        guard let info = infos[name] else { throw missingTensor(name, in: file.path, among: names) }
        guard let dtype = info.dtype else {
            throw MoruError(
                unsupported, "\(file.path): tensor \"\(name)\" is stored as \(info.format), which Moru does not read",
                remedy: "use a file whose weights are in another format, such as BF16 or Q4_K")
        }
        if info.byteRange.lowerBound % dtype.naturalAlignment == 0 {
            return Tensor(
                storage: storage, byteOffset: info.byteRange.lowerBound, shape: info.shape, dtype: dtype)
        }
        let copy = Tensor(uninitialized: info.shape, dtype: dtype)
        UnsafeMutableRawBufferPointer(start: copy.storage.base, count: copy.storage.byteCount)
            .copyMemory(from: UnsafeRawBufferPointer(rebasing: file.bytes[info.byteRange]))
        return copy
    }
}

/// The error for a name that a source does not have, with the nearest name that it has.
func missingTensor(_ name: String, in path: String, among names: [String]) -> MoruError {
    let nearest = nearestName(to: name, among: names)
    return MoruError(
        .tensorNotFound, "\(path) has no tensor \"\(name)\" (it has \(names.count) tensors)",
        remedy: nearest.map { "did you mean \"\($0)\"?" } ?? "check that the file belongs to this model")
}

/// The number of elements of a shape read from a file, or nil when it is too large to count.
///
/// Every partial product is checked, so that later arithmetic on the shape cannot overflow even if a dimension is 0.
func checkedCount(_ shape: [Int]) -> Int? {
    var count = 1
    for size in shape {
        let (product, overflow) = count.multipliedReportingOverflow(by: max(size, 1))
        if overflow || size < 0 { return nil }
        count = product
    }
    return shape.contains(0) ? 0 : count
}

extension DType {
    /// The alignment that loads of one element, or of a block's scales, rely on.
    var naturalAlignment: Int {
        switch self {
        case .i64: 8
        case .f32, .i32: 4
        default: 2
        }
    }
}

/// Whether a file is the small text that Git LFS leaves in place of a file it has not fetched.
func isGitLFSPointer(_ bytes: UnsafeRawBufferPointer) -> Bool {
    bytes.starts(with: "version https://git-lfs".utf8)
}
