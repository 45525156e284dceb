import MoruBase

extension MoruError.Code {
    /// Evaluation data without anything to compare an answer with.
    public static let evaluationData = MoruError.Code("evaluation.data", .invalidInput)
}
