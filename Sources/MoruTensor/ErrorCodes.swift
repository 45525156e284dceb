import MoruBase

extension MoruError.Code {
    /// Tensors whose shapes or dtypes do not fit an operation.
    public static let shapeMismatch = MoruError.Code("tensor.shape-mismatch", .invalidInput)
    /// A number that is not finite where it must be.
    public static let notFinite = MoruError.Code("tensor.not-finite", .invalidInput)
    /// A setting of the runtime that makes no sense, such as an unknown `MORU_CPU`.
    public static let runtimeSetting = MoruError.Code("runtime.setting", .invalidInput)
}
