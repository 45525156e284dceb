/// A JSON value that keeps the order of its keys and tells integers from floating-point numbers.
public enum JSON: Sendable, Hashable {
    /// `null`.
    case null
    /// `true` or `false`.
    case bool(Bool)
    /// A number without fraction or exponent that fits 64 bits.
    case int(Int)
    /// Any other number.
    case double(Double)
    /// A string.
    case string(String)
    /// An array.
    case array([JSON])
    /// An object, its keys in the order of the text.
    case object(JSONObject)
}

/// The members of a JSON object, in order; a key that occurs twice keeps its first place and its last value.
///
/// Keys are the same only when their bytes are: unlike Swift's strings, which hold a composed and a decomposed é equal,
/// for a vocabulary these are two tokens.
public struct JSONObject: Sendable, Hashable {
    /// The keys, in order.
    public private(set) var keys: [String] = []
    private var index: [ExactText: Int] = [:]
    private var values: [JSON] = []

    /// Makes an empty object.
    public init() {}

    /// Makes an object from members in order.
    public init(_ members: some Sequence<(String, JSON)>) {
        for (key, value) in members { self[key] = value }
    }

    /// The number of members.
    public var count: Int { keys.count }
    /// Whether there are no members.
    public var isEmpty: Bool { keys.isEmpty }
    /// The members, in order.
    public var members: some Sequence<(key: String, value: JSON)> {
        zip(keys, values).lazy.map { (key: $0, value: $1) }
    }

    /// Looks up, sets or (with nil) removes a member.
    public subscript(key: String) -> JSON? {
        get { position(of: key).map { values[$0] } }
        set {
            switch (position(of: key), newValue) {
            case (let position?, let value?): values[position] = value
            case (nil, let value?):
                keys.append(key)
                values.append(value)
                if keys.count > Self.linearLimit {
                    if index.isEmpty {
                        for (position, key) in keys.enumerated() { index[ExactText(key)] = position }
                    } else {
                        index[ExactText(key)] = keys.count - 1
                    }
                }
            case (let position?, nil):
                keys.remove(at: position)
                values.remove(at: position)
                index = [:]
                if keys.count > Self.linearLimit {
                    for (position, key) in keys.enumerated() { index[ExactText(key)] = position }
                }
            case (nil, nil): break
            }
        }
    }

    /// Small objects are searched in order; only larger ones pay for a hash table.
    private static let linearLimit = 12

    private func position(of key: String) -> Int? {
        let key = ExactText(key)
        return keys.count > Self.linearLimit ? index[key] : keys.firstIndex { ExactText($0) == key }
    }

    /// Objects are equal when they have equal members, in any order.
    public static func == (left: JSONObject, right: JSONObject) -> Bool {
        left.count == right.count && left.members.allSatisfy { right[$0.key] == $0.value }
    }
    /// Hashes the members regardless of order.
    public func hash(into hasher: inout Hasher) {
        var sum = 0
        for (key, value) in members {
            var member = Hasher()
            member.combine(key)
            member.combine(value)
            sum &+= member.finalize()
        }
        hasher.combine(sum)
    }
}

/// A string that equals another only when their UTF-8 bytes do.
private struct ExactText: Hashable, Sendable {
    let text: String

    init(_ text: String) { self.text = text }

    static func == (left: ExactText, right: ExactText) -> Bool {
        left.text.utf8.count == right.text.utf8.count && left.text.utf8.elementsEqual(right.text.utf8)
    }

    func hash(into hasher: inout Hasher) {
        var text = text
        text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }
}

extension JSON {
    /// A number by the shortest decimal that gives the same float: 1e-05 rather than all digits of the nearest double.
    public static func shortest(_ number: Float) -> JSON { .double(Double("\(number)") ?? Double(number)) }

    /// The boolean, if this is one.
    public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
    /// The integer, if this is one (a floating-point number with an integral value counts).
    public var int: Int? {
        switch self {
        case .int(let value): value
        case .double(let value): Int(exactly: value)
        default: nil
        }
    }
    /// The number, if this is one.
    public var double: Double? {
        switch self {
        case .int(let value): Double(value)
        case .double(let value): value
        default: nil
        }
    }
    /// The string, if this is one.
    public var string: String? { if case .string(let value) = self { value } else { nil } }
    /// The elements, if this is an array.
    public var array: [JSON]? { if case .array(let value) = self { value } else { nil } }
    /// The members, if this is an object.
    public var object: JSONObject? { if case .object(let value) = self { value } else { nil } }
    /// Whether this is `null`.
    public var isNull: Bool { self == .null }

    /// The member of an object by key; nil when this is no object, has no such key, or holds `null` there.
    public subscript(key: String) -> JSON? {
        guard case .object(let object) = self, let value = object[key], !value.isNull else { return nil }
        return value
    }

    /// The element of an array by position; nil when this is no array or has no such element.
    public subscript(position: Int) -> JSON? {
        guard case .array(let elements) = self, elements.indices.contains(position) else { return nil }
        return elements[position]
    }

    /// What kind of value this is, for messages: `an object`, `a string`...
    public var kindName: String {
        switch self {
        case .null: "null"
        case .bool: "a boolean"
        case .int: "an integer"
        case .double: "a number"
        case .string: "a string"
        case .array: "an array"
        case .object: "an object"
        }
    }
}

extension JSON: ExpressibleByNilLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByFloatLiteral, ExpressibleByStringLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    /// `null`.
    public init(nilLiteral: ()) { self = .null }
    /// A boolean.
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    /// An integer.
    public init(integerLiteral value: Int) { self = .int(value) }
    /// A floating-point number.
    public init(floatLiteral value: Double) { self = .double(value) }
    /// A string.
    public init(stringLiteral value: String) { self = .string(value) }
    /// An array.
    public init(arrayLiteral elements: JSON...) { self = .array(elements) }
    /// An object, its keys in order.
    public init(dictionaryLiteral elements: (String, JSON)...) { self = .object(JSONObject(elements)) }
}
