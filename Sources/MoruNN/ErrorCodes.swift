import MoruBase

extension MoruError.Code {
    /// A tensor that the model needs and the file lacks.
    public static let weightMissing = MoruError.Code("weights.missing", .invalidInput)
    /// A tensor whose shape is not the one that the configuration asks for.
    public static let weightShape = MoruError.Code("weights.shape", .invalidInput)
    /// An adapter that does not fit the model it is used with.
    public static let adapterMismatch = MoruError.Code("adapter.mismatch", .invalidInput)
    /// An adapter of a kind that is not supported.
    public static let adapterUnsupported = MoruError.Code("adapter.unsupported", .unsupported)
}
