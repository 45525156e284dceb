import MoruBase
import MoruModels
import MoruNN
import MoruTensor

/// Next-token prediction, on the tokens that the examples mark as targets.
public struct LanguageModelTask: DatasetTask {
    /// The model.
    public let model: any LanguageModel
    /// The adapter that acts on every example.
    public let adapter: (any Adapter)?
    /// What is learnt from.
    public let training: any ExampleSet
    /// What is measured on during the run.
    public let validation: (any ExampleSet)?

    /// Makes a task.
    public init(
        model: any LanguageModel, adapter: (any Adapter)?, training: any ExampleSet,
        validation: (any ExampleSet)? = nil
    ) {
        self.model = model
        self.adapter = adapter
        self.training = training
        self.validation = validation
    }

    private func examples(_ split: DataSplit) -> (any ExampleSet)? {
        switch split {
        case .training: training
        case .validation: validation
        }
    }

    /// The examples of a split.
    public func dataset(_ split: DataSplit) -> (any LearningSet)? { split == .training ? training : validation }

    /// The tokens of an example.
    public func size(of example: Int, in split: DataSplit) -> ExampleSize {
        examples(split)?.size(of: example) ?? ExampleSize(inputs: 0, targets: 0)
    }

    /// The cross-entropy of some examples, summed over their targets.
    public func summedLoss(of examples: [Int], in split: DataSplit, dropout: DropoutSource?) -> Tensor {
        let all = self.examples(split)
        return summedLoss(of: examples.flatMap { all?.sequences(of: $0) ?? [] }, dropout: dropout)
    }

    /// The cross-entropy of some examples in nats, summed over their targets.
    public func summedLoss(of examples: [TokenizedExample], dropout: DropoutSource? = nil) -> Tensor {
        model.summedLoss(of: TargetBatch(examples, adapter: adapter, dropout: dropout))
    }

    /// The model's configuration and a sample of its weights, and every token of the data.
    public var identity: [(key: String, value: String)] {
        [("the base model's weights", model.fingerprintText)] + dataIdentity
    }

    /// Names a parameter of the base model or the adapter that is not finite.
    public func diagnosis() -> String? { model.diagnosis(adapter) }
}
