import CMoruKernels

/// How the elements of a tensor are stored.
///
/// The quantised formats follow GGUF: elements lie in blocks that share a scale, 32 elements a block in the `_0` and
/// `_1` family and 256 in the `_K` family.
public enum DType: String, Sendable, Hashable, CaseIterable, Codable {
    /// IEEE single precision, half precision, and bfloat16.
    case f32, f16, bf16
    /// Signed integers.
    case i64, i32
    /// 4- and 5-bit blocks of 32 with a scale (`_0`) or a scale and a minimum (`_1`).
    case q4_0, q4_1, q5_0, q5_1
    /// 8-bit blocks of 32 with a scale.
    case q8_0
    /// Super-blocks of 256 with quantised scales.
    case q2_K, q3_K, q4_K, q5_K, q6_K

    /// Elements a block; 1 for plain formats.
    public var blockElements: Int {
        switch self {
        case .f32, .f16, .bf16, .i64, .i32: 1
        default: moru_block_elements(kernelType!)
        }
    }

    /// Bytes a block.
    public var blockBytes: Int {
        switch self {
        case .i64: 8
        case .f32, .i32: 4
        case .f16, .bf16: 2
        default: moru_block_bytes(kernelType!)
        }
    }

    /// Whether elements share scales in blocks.
    public var isQuantized: Bool { blockElements > 1 }

    /// Whether the elements are real numbers.
    public var isFloatingPoint: Bool { self != .i64 && self != .i32 }

    /// Whether values can be converted to this format; all can be read.
    public var isWritable: Bool { kernelType.map { moru_can_quantize($0) } ?? false }

    /// Bytes that `count` elements take, or nil when they are no whole number of blocks or too many to count.
    public func byteCount(of count: Int) -> Int? {
        guard count >= 0, count % blockElements == 0 else { return nil }
        let (bytes, overflow) = (count / blockElements).multipliedReportingOverflow(by: blockBytes)
        return overflow ? nil : bytes
    }

    /// The kernels' name for this format; nil for integers.
    package var kernelType: moru_dtype? {
        switch self {
        case .f32: MORU_F32
        case .f16: MORU_F16
        case .bf16: MORU_BF16
        case .i64, .i32: nil
        case .q4_0: MORU_Q4_0
        case .q4_1: MORU_Q4_1
        case .q5_0: MORU_Q5_0
        case .q5_1: MORU_Q5_1
        case .q8_0: MORU_Q8_0
        case .q2_K: MORU_Q2_K
        case .q3_K: MORU_Q3_K
        case .q4_K: MORU_Q4_K
        case .q5_K: MORU_Q5_K
        case .q6_K: MORU_Q6_K
        }
    }
}
