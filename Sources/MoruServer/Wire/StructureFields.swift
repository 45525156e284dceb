import MoruBase
import MoruEngine

/// The fields of a request that say which form an answer must have: OpenAI's `response_format`; vLLM's
/// `structured_outputs` (`json`, `regex`, `choice`, `grammar`, `json_object`) and, as it named them before,
/// `guided_json`, `guided_regex`, `guided_choice` and `guided_grammar`; llama.cpp's `json_schema` and `grammar`.
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
        found += try Self.forms(
            &request, json: "guided_json", regex: "guided_regex", choice: "guided_choice", grammar: "guided_grammar")
        found += try Self.forms(&request, json: "json_schema", grammar: "grammar")
        if let value = request.value("structured_outputs") {
            var object = try RequestObject(value, path: "structured_outputs")
            found += try Self.forms(&object, json: "json", regex: "regex", choice: "choice", grammar: "grammar")
            if try object.bool("json_object") == true { found.append(("structured_outputs.json_object", .jsonObject)) }
            object.accept("disable_fallback")
            let own = "a schema is followed as it is written; say it there"
            for key in ["disable_any_whitespace", "disable_additional_properties"] {
                try object.refuse(key, unless: [false], own)
            }
            try object.finish()
        }
        if found.count > 1 {
            throw .wrongValue(
                found[1].param, "stands beside '\(found[0].param)'; an answer has one form, send one of them")
        }
        guard let one = found.first else { return }
        (structure, param) = (one.structure, one.param)
    }

    /// The forms that fields of some names ask for, each with its field's full name.
    private static func forms(
        _ object: inout RequestObject, json: String, regex: String? = nil, choice: String? = nil, grammar: String
    ) throws(APIError) -> [(param: String, structure: StructuredOutput)] {
        var found: [(param: String, structure: StructuredOutput)] = []
        if let schema = object.value(json) {
            let name = object.name(of: json)
            found.append((name, .jsonSchema(try Self.schema(schema, name))))
        }
        if let regex, let pattern = try object.string(regex) {
            found.append((object.name(of: regex), .regex(pattern)))
        }
        if let choice, let texts = object.value(choice) {
            let name = object.name(of: choice)
            found.append((name, .choice(try Self.choice(texts, name))))
        }
        if let text = try object.string(grammar) { found.append((object.name(of: grammar), .gbnf(text))) }
        return found
    }

    /// `{"type": "text"}`, `{"type": "json_object"}` or `{"type": "json_schema", "json_schema": {"name", "schema"}}`;
    /// flat, what is in `json_schema` stands beside `type`. llama.cpp's clients name a `schema` beside either type; those
    /// of Text Generation Inference, such as `huggingface_hub`, put a schema or a regular expression into `value`.
    private static func format(_ value: JSON, path: String, isFlat: Bool) throws(APIError) -> StructuredOutput? {
        var format = try RequestObject(value, path: path)
        guard let type = try format.string("type") else { throw .missing("\(path).type") }
        var result: StructuredOutput?
        switch type {
        case "text": break
        case "json_object":
            let schema = format.value("schema") ?? format.value("value")
            result = schema.map { .jsonSchema($0) } ?? .jsonObject
        case "json": result = .jsonSchema(try format.required("value"))
        case "json_schema" where isFlat || format.value("schema") != nil:
            result = .jsonSchema(try schema(of: &format))
        case "json_schema":
            let key = format.value("value") == nil ? "json_schema" : "value"
            var wrapper = try RequestObject(try format.required(key), path: "\(path).\(key)")
            result = .jsonSchema(try schema(of: &wrapper))
            try wrapper.finish()
        case "regex":
            guard let pattern = try format.string("value") else { throw .missing("\(path).value") }
            result = .regex(pattern)
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
    private static func schema(_ value: JSON, _ param: String) throws(APIError) -> JSON {
        guard let text = value.string else { return value }
        do { return try JSON.parse(text, source: "'\(param)'") } catch { throw APIError(error, param: param) }
    }

    private static func choice(_ value: JSON, _ param: String) throws(APIError) -> [String] {
        let texts = value.array?.compactMap(\.string) ?? []
        guard !texts.isEmpty, texts.count == value.array?.count else {
            throw .wrongType(param, expected: "an array of strings, at least one", found: value)
        }
        return texts
    }
}
