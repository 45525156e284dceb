import MoruBase

extension MoruError.Code {
    /// A tokenizer file or metadata with missing, contradictory or wrongly typed parts.
    public static let tokenizerMalformed = MoruError.Code("tokenizer.malformed", .invalidInput)
    /// A tokenizer that asks for a component or a regular expression Moru does not have.
    public static let tokenizerUnsupported = MoruError.Code("tokenizer.unsupported", .unsupported)
    /// A vocabulary without the tokens that ask for the text between two others.
    public static let fillInMiddleUnsupported = MoruError.Code("tokenizer.no-fill-in-middle", .unsupported)
    /// A tokenizer that cannot be trained on the text or with the settings given.
    public static let tokenizerTraining = MoruError.Code("tokenizer.training", .invalidInput)
}
