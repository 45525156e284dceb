import MoruBase

extension Grammar {
    /// A grammar of JSON texts that fit a JSON Schema (drafts 6 to 2020-12).
    ///
    /// Objects have their declared properties in the schema's order, and others only where `additionalProperties` is
    /// given. Numbers have at most 15 digits before and after the point. What a grammar cannot guarantee (`not`,
    /// `if`, `uniqueItems`, a `oneOf` whose branches overlap...) is refused by name.
    ///
    /// - Throws: ``MoruError/Code/grammarMalformed`` or ``MoruError/Code/grammarUnsupported``, naming the place in the
    ///   schema as a JSON pointer.
    public init(jsonSchema schema: JSON) throws(MoruError) {
        var builder = JSONSchemaGrammar(schema)
        rules = try builder.build()
    }

    /// A grammar of JSON texts that are an object.
    public static var jsonObject: Grammar {
        var builder = JSONSchemaGrammar(["type": "object"])
        // A schema that asks for nothing that could be refused
        return (try? builder.build()).map { Grammar(rules: $0) } ?? Grammar(.never)
    }
}

/// Builds the rules of a schema.
struct JSONSchemaGrammar {
    typealias Expression = Grammar.Expression

    /// The schema as a whole, which references point into.
    let schema: JSON
    private var rules: [Expression] = []
    private var references: [String: Int] = [:]
    /// How deep the schema that is being read stands in others, references followed.
    private var depth = 0
    /// How much has been read and compared so far.
    private var work = 0

    /// As deep as JSON itself may be nested; references, which may be longer, must not overflow the stack.
    private static let maximumDepth = 256
    /// Enough for schemas of many thousand properties. What references or `allOf` multiply without end stops here.
    private static let maximumWork = 300_000

    /// Rules that every schema shares, by their numbers.
    enum Shared {
        static let root = 0, space = 1, character = 2, string = 3, number = 4, value = 5, object = 6, array = 7
    }

    init(_ schema: JSON) { self.schema = schema }

    mutating func build() throws(MoruError) -> [Expression] {
        let separator = JSON.sequence(JSON.space, .text(","), JSON.space)
        let member = JSON.sequence(.rule(Shared.string), JSON.colon, .rule(Shared.value))
        rules = [
            .never,
            .optional(.alternatives([.text(" "), JSON.sequence(.text("\n"), JSON.indentation)])),
            JSON.character(.all),
            JSON.sequence(.text("\""), .repeated(.rule(Shared.character), minimum: 0, maximum: nil), .text("\"")),
            JSON.anyNumber,
            .alternatives(
                [.rule(Shared.string), .rule(Shared.number), .rule(Shared.object), .rule(Shared.array)]
                    + ["true", "false", "null"].map { .text($0) }),
            JSON.list("{", member, separator, "}", minimum: 0, maximum: nil),
            JSON.list("[", .rule(Shared.value), separator, "]", minimum: 0, maximum: nil),
        ]
        rules[Shared.root] = try expression(schema, at: "#")
        return rules
    }

    /// A rule of its own for an expression.
    mutating func rule(_ expression: Expression) -> Expression {
        rules.append(expression)
        return .rule(rules.count - 1)
    }

    /// Counts what a step of the reading costs.
    ///
    /// - Throws: ``MoruError/Code/grammarTooLarge`` where it is too much.
    mutating func spend(_ cost: Int, at path: String) throws(MoruError) {
        work += cost
        guard work <= Self.maximumWork else {
            throw tooLarge(path, "it is too much to read, its references and allOf multiplied out")
        }
    }

    /// Reads what stands within a schema.
    ///
    /// - Throws: ``MoruError/Code/grammarTooLarge`` where it stands too deep.
    mutating func descending<Result>(
        at path: String, _ body: (inout JSONSchemaGrammar) throws(MoruError) -> Result
    ) throws(MoruError) -> Result {
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.maximumDepth else {
            throw tooLarge(path, "schemas are nested deeper than \(Self.maximumDepth), references followed")
        }
        return try body(&self)
    }

    /// What fits a schema.
    ///
    /// - Parameter path: Where the schema is, as a JSON pointer, for errors.
    mutating func expression(_ schema: JSON, at path: String) throws(MoruError) -> Expression {
        try spend(1, at: path)
        return try descending(at: path) { builder throws(MoruError) in try builder.expression(of: schema, at: path) }
    }

    private mutating func expression(of schema: JSON, at path: String) throws(MoruError) -> Expression {
        if let isAnything = schema.bool { return isAnything ? .rule(Shared.value) : .never }
        guard let keywords = schema.object else {
            throw malformed(path, "a schema is an object, true or false, not \(schema.kindName)")
        }
        let constraints = try Self.constraints(of: keywords, at: path)
        if let reference = constraints["$ref"] {
            guard let pointer = reference.string else { throw malformed(path, "$ref is \(reference.kindName)") }
            if constraints.count == 1 { return try expression(referring: pointer, at: path) }
            var others = constraints
            others["$ref"] = nil
            return try expression(merging(others, try resolved(pointer, at: path), at: path), at: path)
        }
        if let parts = constraints["allOf"] {
            var merged = constraints
            merged["allOf"] = nil
            for (number, part) in try branches(parts, "allOf", at: path).enumerated() {
                guard let next = try merging(merged, part, at: "\(path)/allOf/\(number)").object else { return .never }
                merged = next
            }
            return try expression(.object(merged), at: path)
        }
        for key in ["anyOf", "oneOf"] {
            guard let parts = constraints[key] else { continue }
            return try expression(ofAny: try branches(parts, key, at: path), key, beside: constraints, at: path)
        }
        if let values = try enumeration(constraints, at: path) {
            return .alternatives(values.map { .text($0.text()) })
        }
        var alternatives: [Expression] = []
        for type in try types(constraints, at: path) {
            alternatives.append(try expression(of: type, constraints, at: path))
        }
        return alternatives.count == 1 ? alternatives[0] : .alternatives(alternatives)
    }

    /// What fits a schema that is pointed to; a rule, so that it may contain itself.
    private mutating func expression(referring pointer: String, at path: String) throws(MoruError) -> Expression {
        if let known = references[pointer] { return .rule(known) }
        let number = rules.count
        references[pointer] = number
        rules.append(.never)
        rules[number] = try expression(try resolved(pointer, at: path), at: pointer)
        return .rule(number)
    }

    private mutating func expression(
        ofAny parts: [JSON], _ key: String, beside constraints: JSONObject, at path: String
    ) throws(MoruError) -> Expression {
        var siblings = constraints
        siblings[key] = nil
        var branches: [JSON] = []
        for (number, part) in parts.enumerated() {
            branches.append(
                siblings.isEmpty ? part : try merging(siblings, part, at: "\(path)/\(key)/\(number)"))
        }
        if key == "oneOf" {
            for (first, a) in branches.enumerated() {
                for (second, b) in branches.enumerated().dropFirst(first + 1) {
                    guard try !areDisjoint(a, b, at: path) else { continue }
                    throw unsupported(
                        path, "a value may fit the branches \(first) and \(second) of oneOf at once",
                        "use anyOf, or tell the branches apart by their types or by a required property with const")
                }
            }
        }
        var alternatives: [Expression] = []
        for (number, branch) in branches.enumerated() {
            alternatives.append(try expression(branch, at: "\(path)/\(key)/\(number)"))
        }
        return .alternatives(alternatives)
    }

    private func branches(_ value: JSON, _ key: String, at path: String) throws(MoruError) -> [JSON] {
        guard let parts = value.array, !parts.isEmpty else {
            throw malformed(path, "\(key) is \(value.kindName), not a list of schemas")
        }
        return parts
    }

    private mutating func expression(
        of type: String, _ constraints: JSONObject, at path: String
    ) throws(MoruError) -> Expression {
        switch type {
        case "null": return .text("null")
        case "boolean": return .alternatives([.text("true"), .text("false")])
        case "string": return try string(constraints, at: path)
        case "integer", "number": return try number(type, constraints, at: path)
        case "array": return try array(constraints, at: path)
        default: return try object(constraints, at: path)
        }
    }

    // MARK: - Errors

    func malformed(_ path: String, _ what: String) -> MoruError {
        MoruError(.grammarMalformed, "JSON schema, \(path): \(what)", remedy: "correct the schema")
    }

    private func tooLarge(_ path: String, _ what: String) -> MoruError {
        MoruError(
            .grammarTooLarge, "JSON schema, \(path): \(what)",
            remedy: "make the schema smaller, with less that contains itself or stands beside $ref")
    }

    func unsupported(_ path: String, _ what: String, _ remedy: String) -> MoruError {
        MoruError(.grammarUnsupported, "JSON schema, \(path): \(what)", remedy: remedy)
    }
}

/// The parts that every JSON text is made of.
extension JSON {
    fileprivate typealias Expression = Grammar.Expression

    /// Optional white space, never long, so that a model cannot go on with it for ever.
    static var space: Grammar.Expression { .rule(JSONSchemaGrammar.Shared.space) }
    /// What separates a key from its value.
    static var colon: Grammar.Expression { sequence(space, .text(":"), space) }

    fileprivate static var indentation: Expression {
        .repeated(.scalars(ScalarRanges(of: " \t")), minimum: 0, maximum: 32)
    }

    static func sequence(_ parts: Grammar.Expression...) -> Grammar.Expression { .sequence(parts) }

    /// A list in brackets.
    static func list(
        _ open: String, _ item: Grammar.Expression, _ separator: Grammar.Expression, _ close: String, minimum: Int,
        maximum: Int?
    ) -> Grammar.Expression {
        if maximum == 0 { return sequence(.text(open), space, .text(close)) }
        let more = Grammar.Expression.repeated(
            sequence(separator, item), minimum: max(0, minimum - 1), maximum: maximum.map { $0 - 1 })
        let items = sequence(item, more, space)
        return sequence(.text(open), space, minimum == 0 ? .optional(items) : items, .text(close))
    }

    /// A number of any size, with a point and an exponent where wanted.
    fileprivate static var anyNumber: Expression {
        let exponent = sequence(
            .scalars(ScalarRanges(of: "eE")), .optional(.scalars(ScalarRanges(of: "+-"))),
            .repeated(DecimalBounds.digit(0...9), minimum: 1, maximum: 2))
        return sequence(.optional(.text("-")), DecimalBounds.numbers(nil, nil), .optional(exponent))
    }

    /// One scalar of a set, as it is written inside a string: as it is, or escaped where it must be.
    static func character(_ set: ScalarRanges) -> Grammar.Expression {
        let mustEscape = ScalarRanges([0...0x1F, 0x22...0x22, 0x5C...0x5C])
        var parts = [Expression.scalars(set.subtracting(mustEscape))]
        let short: [(UInt32, String)] = [
            (0x22, "\\\""), (0x5C, "\\\\"), (0x08, "\\b"), (0x0C, "\\f"), (0x0A, "\\n"), (0x0D, "\\r"), (0x09, "\\t"),
        ]
        for (value, text) in short where set.contains(value) { parts.append(.text(text)) }
        for value in UInt32(0)..<0x20 where set.contains(value) && !short.contains(where: { $0.0 == value }) {
            parts.append(.text("\\u00" + (value < 16 ? "0" : "") + String(value, radix: 16)))
        }
        return .alternatives(parts)
    }
}
