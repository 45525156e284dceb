/// The element types that safetensors names, with their sizes, whether or not Moru computes with them.
enum SafetensorsDType {
    /// Bits an element by the format's name; nil for a name that is not known.
    static func bits(of name: String) -> Int? { table[name] }

    /// The dtype for the format's name, if Moru computes with it.
    static func dtype(named name: String) -> DType? {
        switch name {
        case "F32": .f32
        case "F16": .f16
        case "BF16": .bf16
        case "I64": .i64
        case "I32": .i32
        default: nil
        }
    }

    /// The format's name for a dtype; nil for the block formats, which safetensors does not have.
    static func name(of dtype: DType) -> String? {
        switch dtype {
        case .f32: "F32"
        case .f16: "F16"
        case .bf16: "BF16"
        case .i64: "I64"
        case .i32: "I32"
        default: nil
        }
    }

    private static let table: [String: Int] = [
        "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
        "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64,
        "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
        "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
    ]
}
