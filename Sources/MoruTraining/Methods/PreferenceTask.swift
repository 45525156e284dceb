import MoruBase
import MoruModels
import MoruNN
import MoruTensor

/// How answers that people prefer are learnt.
public struct PreferenceSettings: Sendable, Hashable {
    /// How strongly the model is held to the reference: the reward of an answer is `beta` times its log-probability
    /// under the model less that under the reference.
    public var beta: Float
    /// The probability that a preference is the wrong way round, from 0 to below 0.5 (Mitchell, 2023).
    public var labelSmoothing: Float

    /// Makes settings.
    public init(beta: Float = 0.1, labelSmoothing: Float = 0) {
        self.beta = beta
        self.labelSmoothing = labelSmoothing
    }
}

/// Direct preference optimisation (Rafailov et al., 2023): of two answers to a prompt, the chosen one becomes likelier
/// than the rejected one, relative to a reference model.
///
/// The reference is the model as it is before the run: what it thinks of every answer is computed once
/// (``PreferenceReference``), so that no second model is held, whatever the method moves.
public struct PreferenceTask: DatasetTask {
    /// The model.
    public let model: any LanguageModel
    /// The adapter that acts on every example.
    public let adapter: (any Adapter)?
    /// What is learnt from.
    public let training: PreferenceDataset
    /// What is measured on during the run.
    public let validation: PreferenceDataset?
    /// What the reference thinks of the answers.
    public let reference: PreferenceReference
    /// The loss.
    public let settings: PreferenceSettings

    /// Makes a task.
    ///
    /// - Throws: ``MoruError/Code/recipeValue`` for settings out of range.
    public init(
        model: any LanguageModel, adapter: (any Adapter)?, training: PreferenceDataset,
        validation: PreferenceDataset? = nil, reference: PreferenceReference,
        settings: PreferenceSettings = PreferenceSettings()
    ) throws(MoruError) {
        guard settings.beta > 0, settings.beta.isFinite, 0..<0.5 ~= settings.labelSmoothing else {
            throw MoruError(
                .recipeValue, "beta \(settings.beta) or label smoothing \(settings.labelSmoothing) is out of range",
                remedy: "use a beta above 0 (0.1 is usual) and a label smoothing from 0 to below 0.5")
        }
        self.model = model
        self.adapter = adapter
        self.training = training
        self.validation = validation
        self.reference = reference
        self.settings = settings
    }

    private func pairs(_ split: DataSplit) -> [TokenizedPair] {
        switch split {
        case .training: training.pairs
        case .validation: validation?.pairs ?? []
        }
    }

    /// The examples of a split.
    public func dataset(_ split: DataSplit) -> (any LearningSet)? { split == .training ? training : validation }

    /// The tokens of a pair; its loss is one number.
    public func size(of example: Int, in split: DataSplit) -> ExampleSize {
        let pair = pairs(split)[example]
        return ExampleSize(inputs: pair.chosen.inputs.count + pair.rejected.inputs.count, targets: 1)
    }

    /// The loss of some pairs, summed.
    public func summedLoss(of examples: [Int], in split: DataSplit, dropout: DropoutSource?) -> Tensor {
        loss(margins(of: examples, in: split, dropout: dropout))
    }

    /// The loss, the margins between the rewards of chosen and rejected answers, and how many are the right way round.
    public func measure(_ examples: [Int], in split: DataSplit) -> TaskMeasurement {
        let margins = margins(of: examples, in: split, dropout: nil)
        let values = margins.map { Double($0.scalar) }
        return TaskMeasurement(
            loss: Double(loss(margins).scalar),
            others: ["reward_margin": values.reduce(0, +), "reward_accuracy": Double(values.count { $0 > 0 })])
    }

    /// `log(1 + exp(-margin))`, summed: the cross-entropy of the logits (margin, 0) against the first class.
    private func loss(_ margins: [Tensor]) -> Tensor {
        let logits = Tensor.concatenated(margins.flatMap { [$0.reshaped(1), Tensor.zeros([1])] })
            .reshaped(margins.count, 2)
        func loss(_ target: Int32) -> Tensor {
            logits.crossEntropy(Array(repeating: target, count: margins.count)) * Float(margins.count)
        }
        let smoothing = settings.labelSmoothing
        return smoothing == 0 ? loss(0) : loss(0) * (1 - smoothing) + loss(1) * smoothing
    }

    /// By how much the reward of each pair's chosen answer exceeds that of its rejected one.
    private func margins(of examples: [Int], in split: DataSplit, dropout: DropoutSource?) -> [Tensor] {
        let all = pairs(split)
        let answers = examples.flatMap { [all[$0].chosen, all[$0].rejected] }
        let scores = model.logProbabilities(of: answers, adapter: adapter, dropout: dropout)
        return examples.enumerated().map { position, example in
            let before = reference.margins(split)[example]
            return (scores[2 * position] - scores[2 * position + 1] - Tensor(before)) * settings.beta
        }
    }

    /// The model's configuration and a sample of its weights, every token of the data, and the reference.
    public var identity: [(key: String, value: String)] {
        [("the base model's weights", model.fingerprintText)] + dataIdentity
    }

    /// Names a parameter of the base model or the adapter that is not finite.
    public func diagnosis() -> String? { model.diagnosis(adapter) }
}

/// What the model thinks of every pair's answers before a run.
public struct PreferenceReference: Sendable {
    private let training: [Float]
    private let validation: [Float]

    /// Computes it, or reads it where an earlier start of the same run has left it.
    ///
    /// - Parameters:
    ///   - cache: A file of the run's directory to keep it in; nil keeps it in memory alone.
    ///   - progress: Told of the pairs done and of their number.
    ///   - isCancelled: Asked often.
    /// - Throws: ``MoruError/Code/cancelled``, ``MoruError/Code/weightsNotFinite``, or what the file system throws.
    public init(
        of model: any LanguageModel, training: PreferenceDataset, validation: PreferenceDataset? = nil,
        cache: String? = nil, pairsAtATime: Int = 4, progress: (Int, Int) -> Void = { _, _ in },
        isCancelled: () -> Bool = { false }
    ) throws {
        let pairs = training.pairs + (validation?.pairs ?? [])
        let key = [model.fingerprintText, training.fingerprintText, validation?.fingerprintText ?? "none"]
            .joined(separator: " ")
        var margins = cache.flatMap { Self.read($0, key: key, count: pairs.count) } ?? []
        if margins.isEmpty {
            for begin in stride(from: 0, to: pairs.count, by: max(1, pairsAtATime)) {
                if isCancelled() { throw MoruError(.cancelled, "stopped before the first step") }
                let some = pairs[begin..<min(pairs.count, begin + max(1, pairsAtATime))]
                let scores = model.logProbabilities(of: some.flatMap { [$0.chosen, $0.rejected] }, adapter: nil)
                for index in some.indices.map({ 2 * ($0 - begin) }) {
                    margins.append((scores[index] - scores[index + 1]).scalar)
                }
                progress(margins.count, pairs.count)
            }
            guard margins.allSatisfy(\.isFinite) else {
                throw MoruError(
                    .weightsNotFinite, "the reference model's output is not finite",
                    remedy: model.diagnosis(nil) ?? "try training.precision f32")
            }
            let json: JSON = ["key": .string(key), "margins": .array(margins.map { .double(Double($0)) })]
            if let cache { try FileSystem.write(json.text().utf8, to: cache) }
        }
        self.training = Array(margins[..<training.count])
        self.validation = Array(margins[training.count...])
    }

    private static func read(_ path: String, key: String, count: Int) -> [Float]? {
        guard FileSystem.exists(path), let json = try? JSON.parse(file: path), json["key"]?.string == key,
            let margins = json["margins"]?.array?.compactMap(\.double), margins.count == count
        else { return nil }
        return margins.map { Float($0) }
    }

    /// The log-probability of each pair's chosen answer less that of its rejected one.
    public func margins(_ split: DataSplit) -> [Float] { split == .training ? training : validation }
}

extension LanguageModel {
    /// The log-probability of the targets of each example, summed, as scalars.
    func logProbabilities(
        of examples: [TokenizedExample], adapter: (any Adapter)?, dropout: DropoutSource? = nil
    ) -> [Tensor] {
        let batch = TargetBatch(examples, adapter: adapter, dropout: dropout)
        let hidden = hiddenStates(batch.tokens)
        return batch.ranges.map { range in
            crossEntropy(hidden.gatheringRows(Array(batch.rows[range])), Array(batch.targets[range])) * -1
        }
    }
}
