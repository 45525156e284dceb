import MoruBase

extension MoruError.Code {
    /// A configuration whose values are missing, of the wrong type or out of range.
    public static let modelConfiguration = MoruError.Code("model.configuration", .invalidInput)
    /// An architecture that Moru has no definition of.
    public static let modelUnsupported = MoruError.Code("model.unsupported", .unsupported)
    /// A model of another kind than is needed, such as an encoder where text is to be generated.
    public static let modelKind = MoruError.Code("model.kind", .unsupported)
    /// A directory or file that holds no model.
    public static let modelNotFound = MoruError.Code("model.not-found", .notFound)
    /// A tokenizer that does not fit the model it lies beside.
    public static let tokenizerMismatch = MoruError.Code("model.tokenizer-mismatch", .invalidInput)
    /// A tensor of the file that the configuration has no place for.
    public static let weightUnexpected = MoruError.Code("weights.unexpected", .invalidInput)
    /// Weights that hold numbers that are not finite.
    public static let weightsNotFinite = MoruError.Code("model.weights-not-finite", .invalidInput)
    /// A directory that saving would replace, though it holds something else.
    public static let directoryOccupied = MoruError.Code("model.directory-occupied", .conflict)
}
