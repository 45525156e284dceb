/// How GGUF stores a metadata value.
public enum GGUFValueType: UInt32, Sendable, CaseIterable {
    /// Integers of 8, 16 and 32 bits.
    case uint8 = 0, int8, uint16, int16, uint32, int32
    /// Single precision.
    case float32
    /// One byte, 0 or 1.
    case bool
    /// UTF-8 text with its length.
    case string
    /// An array: element type, length, elements.
    case array
    /// Wide integers.
    case uint64, int64
    /// Double precision.
    case float64

    /// The fewest bytes a value takes in a file.
    var minimumBytes: Int {
        switch self {
        case .uint8, .int8, .bool: 1
        case .uint16, .int16: 2
        case .uint32, .int32, .float32: 4
        case .uint64, .int64, .float64, .string: 8
        case .array: 12
        }
    }
}

/// The tensor types of GGUF (ggml's `ggml_type`), whether or not Moru computes with them.
struct GGUFTensorType {
    let name: String
    let blockElements: Int
    let blockBytes: Int
    let dtype: DType?

    /// The type of a number in a file; nil when the number is not known.
    static func numbered(_ number: UInt32) -> GGUFTensorType? { table[number] }

    /// The number that stands for a dtype.
    static func number(of dtype: DType) -> UInt32 {
        switch dtype {
        case .f32: 0
        case .f16: 1
        case .q4_0: 2
        case .q4_1: 3
        case .q5_0: 6
        case .q5_1: 7
        case .q8_0: 8
        case .q2_K: 10
        case .q3_K: 11
        case .q4_K: 12
        case .q5_K: 13
        case .q6_K: 14
        case .i32: 26
        case .i64: 27
        case .bf16: 30
        }
    }

    private static let table: [UInt32: GGUFTensorType] = {
        var table: [UInt32: GGUFTensorType] = [:]
        for dtype in DType.allCases {
            table[number(of: dtype)] = GGUFTensorType(
                name: dtype.isQuantized ? dtype.rawValue.replacing("q", with: "Q") : dtype.rawValue.uppercased(),
                blockElements: dtype.blockElements, blockBytes: dtype.blockBytes, dtype: dtype)
        }
        let others: [(UInt32, String, Int, Int)] = [
            (9, "Q8_1", 32, 40), (15, "Q8_K", 256, 292), (16, "IQ2_XXS", 256, 66), (17, "IQ2_XS", 256, 74),
            (18, "IQ3_XXS", 256, 98), (19, "IQ1_S", 256, 50), (20, "IQ4_NL", 32, 18), (21, "IQ3_S", 256, 110),
            (22, "IQ2_S", 256, 82), (23, "IQ4_XS", 256, 136), (24, "I8", 1, 1), (25, "I16", 1, 2),
            (28, "F64", 1, 8), (29, "IQ1_M", 256, 56), (34, "TQ1_0", 256, 54), (35, "TQ2_0", 256, 66),
            (39, "MXFP4", 32, 17),
        ]
        for (number, name, elements, bytes) in others {
            table[number] = GGUFTensorType(name: name, blockElements: elements, blockBytes: bytes, dtype: nil)
        }
        return table
    }()
}
