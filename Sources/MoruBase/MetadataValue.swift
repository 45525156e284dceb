/// A value of a model file's metadata, as GGUF stores it; arrays are typed so that a vocabulary stays compact.
public enum MetadataValue: Sendable, Equatable {
    /// Any integer type.
    case int(Int)
    /// Any floating-point type.
    case double(Double)
    /// A boolean.
    case bool(Bool)
    /// A UTF-8 string.
    case string(String)
    /// An array of integers or booleans.
    case ints([Int])
    /// An array of floating-point numbers.
    case doubles([Double])
    /// An array of strings.
    case strings([String])

    /// The integer, if this is one.
    public var int: Int? { if case .int(let value) = self { value } else { nil } }
    /// The number as floating point, if this is a number.
    public var double: Double? {
        switch self {
        case .double(let value): value
        case .int(let value): Double(value)
        default: nil
        }
    }
    /// The boolean, if this is one.
    public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
    /// The string, if this is one.
    public var string: String? { if case .string(let value) = self { value } else { nil } }
    /// The integers, if this is an array of them.
    public var ints: [Int]? { if case .ints(let value) = self { value } else { nil } }
    /// The numbers as floating point, if this is an array of numbers.
    public var doubles: [Double]? {
        switch self {
        case .doubles(let value): value
        case .ints(let value): value.map(Double.init)
        default: nil
        }
    }
    /// The strings, if this is an array of them.
    public var strings: [String]? { if case .strings(let value) = self { value } else { nil } }
}

/// A model file's metadata by key, such as `general.architecture`.
public typealias Metadata = [String: MetadataValue]
