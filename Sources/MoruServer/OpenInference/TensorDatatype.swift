/// The types that elements of tensors have in the Open Inference Protocol.
enum TensorDatatype: String, Sendable, Hashable, CaseIterable {
    case bool = "BOOL"
    case uint8 = "UINT8"
    case uint16 = "UINT16"
    case uint32 = "UINT32"
    case uint64 = "UINT64"
    case int8 = "INT8"
    case int16 = "INT16"
    case int32 = "INT32"
    case int64 = "INT64"
    case fp16 = "FP16"
    case fp32 = "FP32"
    case fp64 = "FP64"
    /// Strings of bytes, texts among them.
    case bytes = "BYTES"

    /// Bytes of an element in binary data; nil where each has its own length.
    var byteCount: Int? {
        switch self {
        case .bool, .uint8, .int8: 1
        case .uint16, .int16, .fp16: 2
        case .uint32, .int32, .fp32: 4
        case .uint64, .int64, .fp64: 8
        case .bytes: nil
        }
    }

    /// Whether its elements are whole numbers below zero and above.
    var isSigned: Bool { [.int8, .int16, .int32, .int64].contains(self) }
    /// Whether its elements are whole numbers.
    var isInteger: Bool { isSigned || [.uint8, .uint16, .uint32, .uint64].contains(self) }
}
