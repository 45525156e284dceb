import Foundation
import MoruBase
import MoruModels
import MoruNN
import MoruTensor

/// What a head learns of labelled texts: one label of several, any of them, a number, or the tag of each token.
public struct HeadTask: HeadDatasetTask {
    /// The model with its head.
    public let model: HeadedModel
    /// What is learnt from.
    public let training: HeadDataset
    /// What is measured on during the run.
    public let validation: HeadDataset?

    /// Makes a task. The targets must be of the kind that the head gives, for its labels.
    public init(model: HeadedModel, training: HeadDataset, validation: HeadDataset? = nil) {
        self.model = model
        self.training = training
        self.validation = validation
    }

    /// The examples of a split.
    public func dataset(_ split: DataSplit) -> (any LearningSet)? { split == .training ? training : validation }

    /// The tokens of an example, and the targets that its loss sums over.
    public func size(of example: Int, in split: DataSplit) -> ExampleSize {
        let example = examples(split)[example]
        return ExampleSize(inputs: example.tokens.count, targets: example.targetCount)
    }

    /// The loss of some examples, summed over their targets: cross-entropy in nats; for several labels the binary one,
    /// averaged over the labels; for numbers the squared error.
    public func summedLoss(of examples: [Int], in split: DataSplit, dropout: DropoutSource?) -> Tensor {
        let chosen = self.examples(examples, in: split)
        return loss(of: logits(chosen, dropout: dropout), chosen)
    }

    private func logits(_ examples: [HeadExample], dropout: DropoutSource?) -> Tensor {
        model.logits(model.batch(examples.map(\.tokens), dropout: dropout))
    }

    private func loss(of logits: Tensor, _ examples: [HeadExample]) -> Tensor {
        let (ids, values) = Self.targets(of: examples)
        switch model.configuration.problem {
        case .singleLabel: return logits.crossEntropy(ids) * Float(ids.count { $0 >= 0 })
        case .multiLabel: return logits.binaryCrossEntropy(values) * (1 / Float(model.configuration.labels.count))
        case .regression:
            let difference = logits.reshaped(values.count) - Tensor(values, shape: [values.count])
            return (difference * difference).sum()
        }
    }

    private static func targets(of examples: [HeadExample]) -> (ids: [Int32], values: [Float]) {
        var (ids, values): ([Int32], [Float]) = ([], [])
        for example in examples {
            switch example.target {
            case .label(let label): ids.append(label)
            case .tags(let tags): ids += tags
            case .labels(let labels): values += labels
            case .value(let value): values.append(value)
            case .texts, .scored: preconditionFailure("a head does not compare texts")
            }
        }
        return (ids, values)
    }

    /// The loss, and what ``figures(of:targets:)`` makes its figures of.
    public func measure(_ examples: [Int], in split: DataSplit) -> TaskMeasurement {
        let chosen = self.examples(examples, in: split)
        let logits = logits(chosen, dropout: nil)
        let loss = Double(loss(of: logits, chosen).scalar)
        return TaskMeasurement(loss: loss, others: HeadCounts(model.configuration, logits.values(), chosen).sums)
    }

    /// Accuracy and macro-averaged F1; of several labels exact matches and micro-averaged F1; of tags the accuracy of
    /// tokens and the F1 of whole spans; of numbers the root of the mean square error.
    public func figures(of total: TaskMeasurement, targets: Double) -> [String: Double] {
        HeadCounts.figures(total, targets: targets, model.configuration)
    }

    /// The model's configuration and a sample of its weights, the labels, and every example of the data.
    public var identity: [(key: String, value: String)] {
        [
            ("the base model's weights", model.base.fingerprintText),
            ("the labels", model.configuration.labels.joined(separator: ", ")),
        ] + dataIdentity
    }

    /// Names a parameter of the base model or the adapter that is not finite.
    public func diagnosis() -> String? { model.base.diagnosis(model.adapter) }
}
