import MoruBase
import MoruNN
import MoruTensor

/// Which part of a task's data.
public enum DataSplit: String, Sendable, Hashable {
    /// What is learnt from.
    case training
    /// What is measured on during the run.
    case validation
}

/// How much of something an example is.
public struct ExampleSize: Sendable, Hashable {
    /// Units that the model reads, such as tokens.
    public var inputs: Int
    /// Units that the loss sums over.
    public var targets: Int

    /// Makes a size.
    public init(inputs: Int, targets: Int) {
        self.inputs = inputs
        self.targets = targets
    }
}

/// What a run learns: examples, and the loss of a model on them. The training loop knows no more of a modality.
public protocol TrainingTask: Sendable {
    /// The number of examples of a split; 0 where there is no such split.
    func count(of split: DataSplit) -> Int
    /// In which order a run sees the examples of a split; several sources are mixed as their weights say.
    func order(of split: DataSplit, seed: UInt64) -> EpochOrder
    /// How large an example is.
    func size(of example: Int, in split: DataSplit) -> ExampleSize
    /// The loss of some examples, summed over their targets.
    ///
    /// - Parameter dropout: The source of dropout's randomness; nil for none.
    /// - Returns: A scalar, followed by a gradient computation where one is under way.
    func summedLoss(of examples: [Int], in split: DataSplit, dropout: DropoutSource?) throws -> Tensor
    /// How well the model does on some examples, for validation; nothing is followed by a gradient computation.
    func measure(_ examples: [Int], in split: DataSplit) throws -> TaskMeasurement
    /// What the sums of ``measure(_:in:)`` over all examples come to, by name; the loss aside.
    func figures(of total: TaskMeasurement, targets: Double) -> [String: Double]
    /// What a run of the task depends on, by name: a resumed run refuses to go on when any differs.
    var identity: [(key: String, value: String)] { get }
    /// What is wrong with the model when a loss is not finite, if the task can tell.
    func diagnosis() -> String?
    /// Whether an example's loss is the same whatever else is in its batch, so that batches may be split and summed up.
    var examplesAreIndependent: Bool { get }
}

extension TrainingTask {
    /// They are.
    public var examplesAreIndependent: Bool { true }

    /// Every example once an epoch.
    public func order(of split: DataSplit, seed: UInt64) -> EpochOrder {
        EpochOrder(count: count(of: split), seed: seed)
    }

    /// The loss alone.
    public func measure(_ examples: [Int], in split: DataSplit) throws -> TaskMeasurement {
        TaskMeasurement(loss: Double(try summedLoss(of: examples, in: split, dropout: nil).scalar))
    }

    /// The mean of each over the targets.
    public func figures(of total: TaskMeasurement, targets: Double) -> [String: Double] {
        total.others.mapValues { $0 / targets }
    }
}

/// A task whose splits are sets of examples.
public protocol DatasetTask: TrainingTask {
    /// The examples of a split; nil where there is no such split.
    func dataset(_ split: DataSplit) -> (any LearningSet)?
}

extension DatasetTask {
    /// The number of examples of a split.
    public func count(of split: DataSplit) -> Int { dataset(split)?.count ?? 0 }

    /// The order of a split's sources, mixed as their weights say.
    public func order(of split: DataSplit, seed: UInt64) -> EpochOrder {
        dataset(split)?.order(seed: seed) ?? EpochOrder(count: 0, seed: seed)
    }

    /// Every token and target of the data, as a part of ``TrainingTask/identity``.
    var dataIdentity: [(key: String, value: String)] {
        [
            ("the training data", dataset(.training)?.fingerprintText ?? "none"),
            ("the validation data", dataset(.validation)?.fingerprintText ?? "none"),
        ]
    }
}

/// How well a model does on some examples.
public struct TaskMeasurement: Sendable, Hashable {
    /// The loss, summed over the targets.
    public var loss: Double
    /// Other figures by name, each summed over the targets, such as the number of right answers as `accuracy`.
    public var others: [String: Double]

    /// Makes a measurement.
    public init(loss: Double, others: [String: Double] = [:]) {
        self.loss = loss
        self.others = others
    }
}

/// Which parameters a run moves, and how the result is saved.
public protocol TrainingMethod: Sendable {
    /// The parameters that move, in a fixed order; their values are f32.
    var parameters: [Parameter] { get }
    /// Whether the forward pass drops activations out in training.
    var usesDropout: Bool { get }
    /// What the directory of the result is called in a run's: `adapter`, or `model`.
    var resultName: String { get }
    /// How many bytes the result takes, where it is more than the parameters that move.
    var resultBytes: Int? { get }
    /// Writes what has been learnt as other programs load it, whole or not at all.
    func save(to directory: String) throws
}

extension TrainingMethod {
    /// The parameters that move.
    public var resultBytes: Int? { nil }
    /// An adapter.
    public var resultName: String { RunDirectory.adapterName }
}
