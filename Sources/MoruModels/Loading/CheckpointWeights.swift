import MoruBase
import MoruNN
import MoruTensor
import Synchronization

/// Parameters from files: a name map over a ``TensorSource``, with every shape checked.
struct CheckpointWeights: WeightSource {
    /// What a file calls a parameter, and how its rows lie.
    struct Entry: Sendable {
        var name: String
        /// Heads whose rows are stored with their two halves interleaved; nil when rows are in order.
        var interleavedHeads: Int?
        /// Heads of a fused projection whose rows are stored as all queries, all keys, all values; nil when each head's
        /// own lie together.
        var separatedHeads: Int?
        /// How much more than the parameter the file holds, in each element.
        var offset: Float = 0
        /// Which of so many matrices that are stored one after the other as one tensor; nil where it is the tensor.
        var slice: (index: Int, count: Int)?
    }

    /// The names that were asked for; shared by copies.
    private final class Used: Sendable { let names = Mutex<Set<String>>([]) }

    let source: any TensorSource
    let entry: @Sendable (String) -> Entry?
    private let used = Used()

    /// A source whose names are the parameters' own; those of a model that sees images too stand below a place for its
    /// language model.
    init(_ source: any TensorSource) {
        self.source = source
        entry = { Entry(name: Self.name(of: $0, in: source)) }
    }

    /// What a source calls a language model's parameter.
    static func name(of path: String, in source: any TensorSource) -> String {
        guard source.info(path) == nil else { return path }
        let inner = path.hasPrefix("model.") ? ["model.language_model." + path.dropFirst("model.".count)] : []
        return (inner + ["language_model." + path]).first { source.info($0) != nil } ?? path
    }

    init(_ source: any TensorSource, entry: @escaping @Sendable (String) -> Entry?) {
        self.source = source
        self.entry = entry
    }

    /// Counts tensors among those that were asked for, since another than this read them.
    func markUsed(_ names: [String]) { used.names.withLock { $0.formUnion(names) } }

    func contains(_ path: String) -> Bool { entry(path).flatMap { source.info($0.name) } != nil }

    func weight(_ path: String, shape: [Int], _ initialization: Initialization) throws(MoruError) -> Tensor {
        guard let entry = entry(path), let info = source.info(entry.name) else {
            let nearest = nearestName(to: entry(path)?.name ?? path, among: source.names)
            throw MoruError(
                .weightMissing, "\(source.path): the tensor \(entry(path)?.name ?? path) is missing",
                remedy: "the file does not fit its configuration"
                    + (nearest.map { "; the nearest name in it is \($0)" } ?? ""))
        }
        let stored = (entry.slice.map { [$0.count] } ?? []) + shape
        guard info.shape == stored else {
            throw MoruError(
                .weightShape,
                "\(source.path): the tensor \(entry.name) has shape \(info.shape), the configuration asks for \(stored)",
                remedy: "use the configuration that came with these weights")
        }
        if let dtype = info.dtype, !dtype.isFloatingPoint {
            throw MoruError(
                .weightShape, "\(source.path): the tensor \(entry.name) holds integers (\(info.format))",
                remedy: "weights are floating-point or quantised as in GGUF; use such a copy of the model")
        }
        var tensor = try source.tensor(entry.name)
        if let slice = entry.slice { tensor = tensor.rows(slice.index..<slice.index + 1).reshaped(shape) }
        if entry.offset != 0 { tensor = tensor.converted(to: .f32).subtracting(entry.offset) }
        _ = used.names.withLock { $0.insert(entry.name) }
        if let heads = entry.interleavedHeads { return tensor.deinterleavingHalves(heads: heads) }
        if let heads = entry.separatedHeads { return tensor.joiningHeads(heads) }
        return tensor
    }
}

extension CheckpointWeights {
    private static let blockPrefixes =
        [
            "model.layers.", "model.language_model.layers.", "language_model.model.layers.", "blk.", "transformer.h.",
            "h.", "layers.", "gpt_neox.layers.", "recurrent.", "encoder.layer.",
            "transformer.layer.",
        ]
        + ["bert", "roberta"].map { $0 + ".encoder.layer." } + ["distilbert.transformer.layer."]

    /// Refuses a file with tensors that belong into the blocks and that the model did not ask for: a bias, norm or
    /// layer that the configuration does not speak of would change every result.
    ///
    /// - Throws: ``MoruError/Code/weightUnexpected``.
    func checkBlocksAreUsed() throws(MoruError) {
        let stray = used.names.withLock { used in
            source.names.first { name in
                let isInBlock = Self.blockPrefixes.contains { name.hasPrefix($0) }
                let isRotation = name.hasPrefix("rope_factors_")
                let isParameter = name.hasSuffix(".weight") || name.hasSuffix(".bias")
                // Some old files store the rotary frequencies, which the configuration gives as well, or causal masks
                let isKnown =
                    name.contains("attn_rot_embd") || name.hasSuffix(".attn.bias")
                    || name.hasSuffix(".attention.bias") || used.contains(name)
                return (isInBlock || isRotation) && isParameter && !isKnown
            }
        }
        guard let stray else { return }
        throw MoruError(
            .weightUnexpected,
            "\(source.path): the tensor \(stray) has no place in the model that the configuration says",
            remedy: "use the configuration that came with these weights")
    }
}

extension Tensor {
    /// Each element less a number.
    fileprivate func subtracting(_ number: Float) -> Tensor { self - Tensor.ones(shape) * number }

    /// Rows with the two halves of each head one after the other, from rows where they alternate.
    func deinterleavingHalves(heads: Int) -> Tensor {
        let rowsAHead = shape[0] / heads
        let order = (0..<heads).flatMap { head in
            (0..<2).flatMap { half in
                (0..<rowsAHead / 2).map { head * rowsAHead + $0 * 2 + half }
            }
        }
        return permutingRows(order)
    }

    /// Rows with each head's query, key and value one after the other, from rows of all queries, all keys, all values.
    func joiningHeads(_ heads: Int) -> Tensor {
        let rowsAHead = shape[0] / (3 * heads)
        let order = (0..<heads).flatMap { head in
            (0..<3).flatMap { part in
                (0..<rowsAHead).map { (part * heads + head) * rowsAHead + $0 }
            }
        }
        return permutingRows(order)
    }
}
