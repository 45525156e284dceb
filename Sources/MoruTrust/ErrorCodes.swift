import MoruBase

extension MoruError.Code {
    /// Evaluation data without anything to compare an answer with.
    public static let evaluationData = MoruError.Code("evaluation.data", .invalidInput)
    /// A gate that cannot be read, or that names no figure of the evaluation.
    public static let evaluationGate = MoruError.Code("evaluation.gate", .invalidInput)
}
