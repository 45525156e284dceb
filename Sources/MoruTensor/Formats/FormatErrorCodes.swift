import MoruBase

extension MoruError.Code {
    /// A safetensors file that breaks the format: a header that is not its JSON, or offsets that do not fit.
    public static let safetensorsMalformed = MoruError.Code("safetensors.malformed", .invalidInput)
    /// A safetensors file that ends before its data does.
    public static let safetensorsTruncated = MoruError.Code("safetensors.truncated", .invalidInput)
    /// A tensor in a dtype that Moru does not compute with, or that safetensors cannot hold.
    public static let safetensorsUnsupportedDType = MoruError.Code("safetensors.unsupported-dtype", .unsupported)
    /// A sharded model whose index and shards disagree.
    public static let safetensorsIndexMismatch = MoruError.Code("safetensors.index-mismatch", .invalidInput)
    /// A GGUF file that breaks the format.
    public static let ggufMalformed = MoruError.Code("gguf.malformed", .invalidInput)
    /// A GGUF file that ends before its data does.
    public static let ggufTruncated = MoruError.Code("gguf.truncated", .invalidInput)
    /// A GGUF version, byte order or tensor type that Moru does not read.
    public static let ggufUnsupported = MoruError.Code("gguf.unsupported", .unsupported)
    /// A tensor that a file does not hold.
    public static let tensorNotFound = MoruError.Code("tensor.not-found", .notFound)
    /// A tensor name or metadata key that a file cannot hold, or holds already.
    public static let tensorNameInvalid = MoruError.Code("tensor.name-invalid", .invalidInput)
}
