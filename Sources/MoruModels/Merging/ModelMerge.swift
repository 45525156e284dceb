import MoruBase
import MoruNN
import MoruTensor
import MoruText

/// How whole models of one architecture become one.
public enum ModelMergeMethod: Sendable, Hashable {
    /// `base + sum of w_i (model_i - base)`: a weighted mean, or arithmetic with task vectors (Ilharco et al., 2023).
    case linear
    /// Between two models along the arc between their weights, each tensor as one vector (Shoemake, 1985): 0 is the
    /// first model, 1 the second. Nearly parallel tensors are interpolated linearly.
    case slerp(Float)
    /// TIES (Yadav et al., 2023): of each model's differences from the base, the `density` largest of every tensor stay;
    /// for each number the sign with the larger weighted sum is elected, and what agrees with it is averaged by weight,
    /// multiplied by `scale` and added to the base.
    case ties(density: Float, scale: Float)
}

/// Whole models of the same architecture, merged.
public struct ModelMerge: Sendable {
    /// A model and how much of it goes in.
    public struct Part: Sendable {
        /// The model.
        public var model: PretrainedModel
        /// Its weight; SLERP knows none.
        public var weight: Float

        /// Makes a part.
        public init(_ model: PretrainedModel, weight: Float = 1) {
            self.model = model
            self.weight = weight
        }
    }

    /// How the models are merged.
    public let method: ModelMergeMethod
    /// What the configurations disagree about without keeping the models apart, for people.
    public let notes: [String]
    private let base: PretrainedModel
    private let parts: [Part]

    /// Plans a merge.
    ///
    /// - Parameters:
    ///   - parts: The models to merge into the base.
    ///   - base: The first model, whose configuration and tokenizer the result keeps.
    ///   - ignoringTokenizers: Whether other models may have other tokenizers.
    /// - Throws: ``MoruError/Code/mergeMismatch`` naming what differs, or ``MoruError/Code/mergeSetting``.
    public init(
        _ parts: [Part], into base: PretrainedModel, _ method: ModelMergeMethod, ignoringTokenizers: Bool = false
    ) throws(MoruError) {
        try Self.check(method, parts)
        var notes: [String] = []
        for part in parts {
            try Self.requireSameShapes(base, part.model)
            if !ignoringTokenizers { try Self.requireSameTokenizer(base, part.model) }
            notes += Self.differences(base, part.model)
        }
        (self.parts, self.base, self.method, self.notes) = (parts, base, method, notes)
    }

    private static func check(_ method: ModelMergeMethod, _ parts: [Part]) throws(MoruError) {
        func require(_ condition: Bool, _ message: String, _ remedy: String) throws(MoruError) {
            if !condition { throw MoruError(.mergeSetting, message, remedy: remedy) }
        }
        try require(!parts.isEmpty, "there is no model to merge with", "name one or more")
        try require(parts.allSatisfy(\.weight.isFinite), "a weight is not finite", "1 is usual")
        switch method {
        case .linear: break
        case .slerp(let t):
            try require(parts.count == 1, "SLERP goes between two models, not \(parts.count + 1)", "use ties or linear")
            try require(0...1 ~= t, "SLERP's place between the models is \(t)", "use 0 to 1")
        case .ties(let density, let scale):
            try require(density > 0 && density <= 1, "TIES' density is \(density)", "use above 0 to 1; 0.2 is usual")
            try require(scale.isFinite, "TIES' scale is \(scale)", "1 is usual")
            try require(parts.allSatisfy { $0.weight > 0 }, "TIES averages by weights above 0", "1 for each is usual")
        }
    }

    private static func requireSameShapes(_ base: PretrainedModel, _ other: PretrainedModel) throws(MoruError) {
        func mismatch(_ what: String) -> MoruError {
            MoruError(
                .mergeMismatch, "\(other.path) does not fit \(base.path): \(what)",
                remedy: "merge models that were tuned from the same base")
        }
        let (a, b) = (base.model.facts.architecture, other.model.facts.architecture)
        guard a == b else { throw mismatch("its architecture is \(b), not \(a)") }
        let shapes = Dictionary(other.model.parameters.map { ($0.path, $0.value.shape) }) { first, _ in first }
        for parameter in base.model.parameters {
            guard let shape = shapes[parameter.path] else { throw mismatch("it has no \(parameter.path)") }
            guard shape == parameter.value.shape else {
                throw mismatch("\(parameter.path) has shape \(shape), not \(parameter.value.shape)")
            }
        }
        let known = Set(base.model.parameters.map(\.path))
        if let stray = other.model.parameters.first(where: { !known.contains($0.path) }) {
            throw mismatch("it also has \(stray.path)")
        }
    }

    private static func requireSameTokenizer(_ base: PretrainedModel, _ other: PretrainedModel) throws(MoruError) {
        let count = max(base.tokenizer.vocabularySize, other.tokenizer.vocabularySize)
        for id in 0..<Int32(count) where base.tokenizer.piece(id) != other.tokenizer.piece(id) {
            func name(_ model: PretrainedModel) -> String { model.tokenizer.piece(id).map { "\"\($0)\"" } ?? "nothing" }
            throw MoruError(
                .mergeMismatch,
                "the tokenizers differ: the id \(id) is \(name(base)) in \(base.path), \(name(other)) in \(other.path)",
                remedy: "merge models with one tokenizer; if you know better, keep the first model's with "
                    + "--ignore-tokenizers")
        }
    }

    /// Keys that say nothing of what a model computes.
    private static let incidentalKeys: Set<String> = [
        "_name_or_path", "architectures", "torch_dtype", "dtype", "transformers_version", "use_cache", "auto_map",
        "bos_token_id", "eos_token_id", "pad_token_id", "initializer_range", "task_specific_params",
    ]

    private static func differences(_ base: PretrainedModel, _ other: PretrainedModel) -> [String] {
        let (a, b) = (base.model.configurationJSON, other.model.configurationJSON)
        let keys = Set((a.object?.keys ?? []) + (b.object?.keys ?? []))
        return keys.subtracting(incidentalKeys).sorted().filter { a[$0] != b[$0] }.map { key in
            "\(key) is \(a[key]?.text() ?? "absent") in \(base.path), \(b[key]?.text() ?? "absent") in \(other.path); "
                + "the first is kept"
        }
    }

    /// The number of tensors that ``apply(dtype:progress:)`` goes through.
    public var tensorCount: Int { base.model.parameters.count }

    /// Gives the base the merged weights, in place.
    ///
    /// - Parameters:
    ///   - dtype: How weights are stored; nil keeps dense ones as they are and writes quantised ones as f32.
    ///   - progress: Called with the number of tensors done.
    /// - Throws: ``MoruError/Code/weightsNotFinite`` when a weight does not fit; the base is then half merged.
    public func apply(dtype: DType? = nil, progress: (Int) -> Void = { _ in }) throws(MoruError) {
        let others = parts.map { part in
            Dictionary(part.model.model.parameters.map { ($0.path, $0) }) { first, _ in first }
        }
        for (done, parameter) in base.model.parameters.enumerated() {
            progress(done)
            let values = others.compactMap { $0[parameter.path]?.value.converted(to: .f32) }
            let value = merge(parameter.value.converted(to: .f32), values)
            let target = parameter.value.rank < 2 ? .f32 : dtype ?? parameter.value.dtype.denseOrF32
            parameter.value = try value.stored(as: target, of: parameter.path)
        }
        progress(tensorCount)
    }

    private func merge(_ base: Tensor, _ others: [Tensor]) -> Tensor {
        switch method {
        case .linear: MergeArithmetic.linear(base, others, weights: parts.map(\.weight))
        case .slerp(let t): MergeArithmetic.slerp(base, others[0], t)
        case .ties(let density, let scale):
            MergeArithmetic.ties(base, others, weights: parts.map(\.weight), density: density, scale: scale)
        }
    }
}
