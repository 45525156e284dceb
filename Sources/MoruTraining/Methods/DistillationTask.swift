import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruText

/// Knowledge distillation (Hinton, Vinyals and Dean, 2015): a model learns the distributions of a larger one over the
/// targets of the data, beside the data itself.
public struct DistillationTask: DatasetTask {
    /// The model that learns.
    public let student: any LanguageModel
    /// The adapter of the student.
    public let adapter: (any Adapter)?
    /// The model that is learnt from.
    public let teacher: any LanguageModel
    /// What is learnt from.
    public let training: TokenizedDataset
    /// What is measured on during the run.
    public let validation: TokenizedDataset?
    /// The loss.
    public let settings: DistillationLoss

    /// Makes a task.
    ///
    /// - Throws: ``MoruError/Code/tokenizerMismatch`` when the two models do not share their tokens, or
    ///   ``MoruError/Code/recipeValue`` for settings out of range.
    public init(
        student: PretrainedModel, adapter: (any Adapter)?, teacher: PretrainedModel, training: TokenizedDataset,
        validation: TokenizedDataset? = nil, settings: DistillationLoss = DistillationLoss()
    ) throws(MoruError) {
        try Self.requireSameTokens(student, teacher)
        guard settings.temperature > 0, settings.temperature.isFinite, 0...1 ~= settings.softShare,
            settings.topK ?? 1 > 0
        else {
            throw MoruError(
                .recipeValue,
                "temperature \(settings.temperature), soft share \(settings.softShare) or top k "
                    + "\(settings.topK.map(String.init) ?? "none") is out of range",
                remedy: "use a temperature above 0, a share from 0 to 1, and a top k of at least 1")
        }
        self.student = student.model
        self.adapter = adapter
        self.teacher = teacher.model
        self.training = training
        self.validation = validation
        self.settings = settings
    }

    private static func requireSameTokens(
        _ student: PretrainedModel, _ teacher: PretrainedModel
    ) throws(MoruError) {
        let (ours, theirs) = (student.tokenizer, teacher.tokenizer)
        func refuse(_ difference: String) -> MoruError {
            MoruError(
                .tokenizerMismatch,
                "\(teacher.path) cannot teach \(student.path): their tokenizers differ, \(difference)",
                remedy: "choose a teacher of the student's own family, with the same tokenizer")
        }
        guard ours.vocabularySize == theirs.vocabularySize else {
            throw refuse("with \(theirs.vocabularySize) and \(ours.vocabularySize) tokens")
        }
        if let id = (0..<Int32(ours.vocabularySize)).first(where: { ours.piece($0) != theirs.piece($0) }) {
            throw refuse(
                "id \(id) is \"\(theirs.piece(id) ?? "nothing")\" for one and \"\(ours.piece(id) ?? "nothing")\" for "
                    + "the other")
        }
    }

    private func examples(_ split: DataSplit) -> [TokenizedExample] {
        switch split {
        case .training: training.examples
        case .validation: validation?.examples ?? []
        }
    }

    /// The examples of a split.
    public func dataset(_ split: DataSplit) -> (any LearningSet)? { split == .training ? training : validation }

    /// The tokens of an example.
    public func size(of example: Int, in split: DataSplit) -> ExampleSize {
        let example = examples(split)[example]
        return ExampleSize(inputs: example.inputs.count, targets: example.targetCount)
    }

    /// The loss of some examples, summed over their targets.
    public func summedLoss(of examples: [Int], in split: DataSplit, dropout: DropoutSource?) -> Tensor {
        losses(of: examples, in: split, dropout: dropout).loss
    }

    /// The loss, and the two parts that it is made of: `cross_entropy` and `divergence`.
    public func measure(_ examples: [Int], in split: DataSplit) -> TaskMeasurement {
        let (loss, hard, soft) = losses(of: examples, in: split, dropout: nil)
        return TaskMeasurement(loss: Double(loss.scalar), others: ["cross_entropy": hard, "divergence": soft])
    }

    private func losses(
        of examples: [Int], in split: DataSplit, dropout: DropoutSource?
    ) -> (loss: Tensor, hard: Double, soft: Double) {
        let all = self.examples(split)
        let batch = TargetBatch(examples.map { all[$0] }, adapter: adapter, dropout: dropout)
        // The teacher sees the same tokens, without the student's adapter
        let taught = TargetBatch(examples.map { all[$0] }, adapter: nil, dropout: nil)
        return linearDistillation(
            student.hiddenStates(batch.tokens).gatheringRows(batch.rows), student.outputProjection.tensor,
            batch.targets, teacher: teacher.hiddenStates(taught.tokens).gatheringRows(taught.rows),
            teacher.outputProjection.value, settings, transform: student.logitTransform,
            teacherTransform: teacher.logitTransform)
    }

    /// The configurations and a sample of the weights of both models, and every token of the data.
    public var identity: [(key: String, value: String)] {
        [
            ("the base model's weights", student.fingerprintText), ("the teacher's weights", teacher.fingerprintText),
        ] + dataIdentity
    }

    /// Names a parameter of one of the models or the adapter that is not finite.
    public func diagnosis() -> String? {
        teacher.firstNonFiniteParameter().map { "\($0) of the teacher holds numbers that are not finite" }
            ?? student.diagnosis(adapter)
    }
}
