import MoruBase

/// An object of a request that is read field by field.
///
/// A field that is null counts as absent, as OpenAI's API has it. Every field read is noted, so that ``finish()`` can
/// refuse those that nobody has read: nothing that a client asks for is ignored.
struct RequestObject {
    private let members: JSONObject
    private let path: String
    private var known: [String] = []

    /// Begins to read an object.
    ///
    /// - Parameter path: Where the object is in the request, such as `messages[0]`; empty for the request itself.
    init(_ json: JSON, path: String = "") throws(APIError) {
        guard case .object(let members) = json else {
            let what = path.isEmpty ? "The request body" : "'\(path)'"
            throw .invalid(
                "invalid_type", "\(what) must be an object, not \(json.kindName).", param: path.isEmpty ? nil : path)
        }
        self.members = members
        self.path = path
    }

    /// The full name of a field, as errors give it.
    func name(of key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

    /// A field of any kind.
    mutating func value(_ key: String) -> JSON? {
        known.append(key)
        guard let value = members[key], !value.isNull else { return nil }
        return value
    }

    /// A field that must be there.
    mutating func required(_ key: String) throws(APIError) -> JSON {
        guard let value = value(key) else { throw .missing(name(of: key)) }
        return value
    }

    /// A string.
    mutating func string(_ key: String) throws(APIError) -> String? {
        guard let value = value(key) else { return nil }
        guard let string = value.string else {
            throw .wrongType(name(of: key), expected: "a string", found: value)
        }
        return string
    }

    /// A boolean.
    mutating func bool(_ key: String) throws(APIError) -> Bool? {
        guard let value = value(key) else { return nil }
        guard let bool = value.bool else {
            throw .wrongType(name(of: key), expected: "a boolean", found: value)
        }
        return bool
    }

    /// An integer within a range.
    mutating func int(_ key: String, in range: ClosedRange<Int> = Int.min...Int.max) throws(APIError) -> Int? {
        guard let value = value(key) else { return nil }
        guard let int = value.int else {
            throw .wrongType(name(of: key), expected: "an integer", found: value)
        }
        guard range.contains(int) else {
            let bounds =
                range.upperBound == .max ? "\(range.lowerBound) or more" : "\(range.lowerBound) to \(range.upperBound)"
            throw .wrongValue(name(of: key), "is \(int), and must be \(bounds)")
        }
        return int
    }

    /// A number within a range.
    mutating func number(_ key: String, in range: ClosedRange<Double>) throws(APIError) -> Float? {
        guard let value = value(key) else { return nil }
        guard let double = value.double else {
            throw .wrongType(name(of: key), expected: "a number", found: value)
        }
        guard range.contains(double) else {
            throw .wrongValue(name(of: key), "is \(double), and must be \(range.lowerBound) to \(range.upperBound)")
        }
        return Float(double)
    }

    /// A number above 0, up to a bound.
    mutating func positiveNumber(_ key: String, upTo bound: Double) throws(APIError) -> Float? {
        let value = try number(key, in: 0...bound)
        guard let value else { return nil }
        guard value > 0 else { throw .wrongValue(name(of: key), "is \(value), and must be above 0, up to \(bound)") }
        return value
    }

    /// Takes note of fields that carry nothing the answer depends on: whose they are and how they are booked.
    mutating func accept(_ keys: String...) { known += keys }

    /// Refuses a field by name, unless it has a value that asks for nothing.
    ///
    /// - Parameters:
    ///   - harmless: The values that ask for what happens anyway.
    ///   - reason: Why it is refused, and what to do instead.
    mutating func refuse(_ key: String, unless harmless: [JSON] = [], _ reason: String) throws(APIError) {
        guard let value = value(key), !harmless.contains(value) else { return }
        throw .unsupported(name(of: key), reason)
    }

    /// Refuses the fields that were not read.
    func finish() throws(APIError) {
        for key in members.keys where !known.contains(key) {
            throw .unknown(name(of: key), key: key, known: known)
        }
    }
}
