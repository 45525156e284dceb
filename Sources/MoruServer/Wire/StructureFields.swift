import MoruBase
import MoruEngine

/// The fields of a request that say which form an answer must have: OpenAI's `response_format`, and `guided_json`,
/// `guided_regex`, `guided_choice` and `guided_grammar`, extensions that are named as vLLM names them.
struct StructureFields: Sendable, Hashable {
    /// The form; nil for any.
    var structure: StructuredOutput?
    /// The field that asks for it.
    var param = "response_format"

    /// Reads the fields of a chat completion or a completion.
    init(_ request: inout RequestObject) throws(APIError) {
        let format = request.value("response_format")
        try self.init(&request, format, path: "response_format", isFlat: false)
    }

    /// Reads the fields of a response: `text.format`, in which a schema stands beside `type`.
    init(response request: inout RequestObject) throws(APIError) {
        var format: JSON?
        if let value = request.value("text") {
            var text = try RequestObject(value, path: "text")
            format = text.value("format")
            try text.refuse("verbosity", unless: ["medium"], "the model decides itself; ask for it in 'instructions'")
            try text.finish()
        }
        try self.init(&request, format, path: "text.format", isFlat: true)
    }

    private init(_ request: inout RequestObject, _ format: JSON?, path: String, isFlat: Bool) throws(APIError) {
        var found: [(param: String, structure: StructuredOutput)] = []
        if let format, let structure = try Self.format(format, path: path, isFlat: isFlat) {
            found.append((path, structure))
        }
        if let schema = request.value("guided_json") {
            found.append(("guided_json", .jsonSchema(try Self.schema(schema))))
        }
        if let pattern = try request.string("guided_regex") { found.append(("guided_regex", .regex(pattern))) }
        if let texts = request.value("guided_choice") {
            found.append(("guided_choice", .choice(try Self.choice(texts))))
        }
        if let grammar = try request.string("guided_grammar") { found.append(("guided_grammar", .gbnf(grammar))) }
        if found.count > 1 {
            throw .wrongValue(
                found[1].param, "stands beside '\(found[0].param)'; an answer has one form, send one of them")
        }
        guard let one = found.first else { return }
        (structure, param) = (one.structure, one.param)
    }

    /// `{"type": "text"}`, `{"type": "json_object"}` or `{"type": "json_schema", "json_schema": {"name", "schema"}}`;
    /// flat, what is in `json_schema` stands beside `type`.
    private static func format(_ value: JSON, path: String, isFlat: Bool) throws(APIError) -> StructuredOutput? {
        var format = try RequestObject(value, path: path)
        guard let type = try format.string("type") else { throw .missing("\(path).type") }
        var result: StructuredOutput?
        switch type {
        case "text": break
        case "json_object": result = .jsonObject
        case "json_schema" where isFlat: result = .jsonSchema(try schema(of: &format))
        case "json_schema":
            var wrapper = try RequestObject(try format.required("json_schema"), path: "\(path).json_schema")
            result = .jsonSchema(try schema(of: &wrapper))
            try wrapper.finish()
        default:
            throw .wrongValue("\(path).type", "is '\(type)', and must be one of text, json_object and json_schema")
        }
        try format.finish()
        return result
    }

    private static func schema(of object: inout RequestObject) throws(APIError) -> JSON {
        // The name and what is said of it are for the client; every schema is followed strictly
        _ = try object.string("name")
        _ = try object.string("description")
        _ = try object.bool("strict")
        return try object.required("schema")
    }

    /// A schema, as an object or as its text.
    private static func schema(_ value: JSON) throws(APIError) -> JSON {
        guard let text = value.string else { return value }
        do { return try JSON.parse(text, source: "guided_json") } catch {
            throw APIError(error, param: "guided_json")
        }
    }

    private static func choice(_ value: JSON) throws(APIError) -> [String] {
        let texts = value.array?.compactMap(\.string) ?? []
        guard !texts.isEmpty, texts.count == value.array?.count else {
            throw .wrongType("guided_choice", expected: "an array of strings, at least one", found: value)
        }
        return texts
    }
}
