import MoruBase

/// A part of a tokenizer.json with the path that leads to it, so that every complaint says where.
struct Section {
    let json: JSON
    let path: String
    let source: String

    init(_ json: JSON, path: String, source: String) {
        self.json = json
        self.path = path
        self.source = source
    }

    func malformed(_ what: String, remedy: String? = nil) -> MoruError {
        MoruError(
            .tokenizerMalformed, "\(source): \(path.isEmpty ? "the document" : path) \(what)",
            remedy: remedy ?? "check that the file is the tokenizer.json of a Hugging Face model")
    }

    func unsupported(_ what: String) -> MoruError {
        MoruError(
            .tokenizerUnsupported, "\(source): \(path) \(what)",
            remedy: "Moru cannot give the same ids without it; use a model with another tokenizer")
    }

    private func child(_ json: JSON, _ key: String) -> Section {
        Section(json, path: path.isEmpty ? key : "\(path).\(key)", source: source)
    }

    /// A member, or nil when it is missing or null.
    func optional(_ key: String) -> Section? { json[key].map { child($0, key) } }

    /// A member that must be there.
    func required(_ key: String) throws(MoruError) -> Section {
        guard let value = json[key] else { throw malformed("has no \"\(key)\"") }
        return child(value, key)
    }

    /// The members of an array.
    func elements() throws(MoruError) -> [Section] {
        guard case .array(let values) = json else { throw malformed("is \(json.kindName), not an array") }
        return values.enumerated().map { Section($1, path: "\(path)[\($0)]", source: source) }
    }

    func object() throws(MoruError) -> JSONObject {
        guard case .object(let object) = json else { throw malformed("is \(json.kindName), not an object") }
        return object
    }

    func string() throws(MoruError) -> String {
        guard case .string(let value) = json else { throw malformed("is \(json.kindName), not a string") }
        return value
    }

    func bool() throws(MoruError) -> Bool {
        guard case .bool(let value) = json else { throw malformed("is \(json.kindName), not true or false") }
        return value
    }

    func number() throws(MoruError) -> Double {
        guard let value = json.double else { throw malformed("is \(json.kindName), not a number") }
        return value
    }

    /// An integer within bounds.
    func integer(in range: ClosedRange<Int>) throws(MoruError) -> Int {
        guard let value = json.int else { throw malformed("is \(json.kindName), not an integer") }
        guard range.contains(value) else {
            throw malformed("is \(value), outside \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    /// A token id.
    func id() throws(MoruError) -> Int { try integer(in: 0...Vocabulary.maximumID) }

    func string(_ key: String, default value: String) throws(MoruError) -> String {
        guard let section = optional(key) else { return value }
        return try section.string()
    }

    func bool(_ key: String, default value: Bool) throws(MoruError) -> Bool {
        guard let section = optional(key) else { return value }
        return try section.bool()
    }

    /// The bytes of a string that is one character long.
    func character() throws(MoruError) -> [UInt8] {
        let text = try string()
        guard text.unicodeScalars.count == 1 else { throw malformed("is \"\(text)\", not one character") }
        return Array(text.utf8)
    }

    /// The `type` of a component.
    func type() throws(MoruError) -> String { try required("type").string() }

    /// A value of an enumeration by name.
    func choice<Value: RawRepresentable & CaseIterable>(
        _ type: Value.Type
    ) throws(MoruError) -> Value where Value.RawValue == String {
        let name = try string()
        guard let value = Value(rawValue: name) else {
            throw malformed("is \"\(name)\", not one of \(Value.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        return value
    }

    /// A pattern, `{"String": ...}` or `{"Regex": ...}`.
    func pattern() throws(MoruError) -> TextPattern {
        if case .string = json { return try literal() }
        if let section = optional("String") { return try section.literal() }
        if let regex = optional("Regex") { return .regex(try program(regex.string())) }
        throw malformed("has neither \"String\" nor \"Regex\"")
    }

    private func literal() throws(MoruError) -> TextPattern {
        let text = Array(try string().utf8)
        // It is compared at every place of a text
        guard text.count <= 1000 else { throw unsupported("has \(text.count) bytes, and a pattern may have 1000") }
        return .literal(text)
    }

    func program(_ pattern: String) throws(MoruError) -> RegexProgram {
        do throws(MoruError) { return try RegexProgram(pattern) } catch { throw error.within("\(source): \(path)") }
    }
}
