import MoruBase
import MoruText

/// The fields of a chat completion that speak of functions which the model may call: `tools`, `tool_choice` and
/// `parallel_tool_calls`.
struct ToolFields: Sendable, Hashable {
    /// Whether the model is to call a function.
    enum Choice: Sendable, Hashable {
        /// It decides itself.
        case auto
        /// It answers with text.
        case none
        /// It calls one.
        case required
        /// It calls this one.
        case function(String)
    }

    /// The functions, as templates are shown them: `{"type": "function", "function": {...}}`.
    var tools: [JSON] = []
    /// Their names and the schemas of their arguments.
    var functions: [Function] = []
    var choice = Choice.auto
    /// Whether an answer may hold several calls.
    var allowsSeveral = true

    /// A function that may be called.
    struct Function: Sendable, Hashable {
        var name: String
        var parameters: JSON
    }

    /// Where a tool's function is described.
    enum Form: Sendable {
        /// In `function`, as chat completions have it.
        case nested
        /// Beside `type`, as responses have it.
        case flat
    }

    /// Reads the fields.
    init(_ request: inout RequestObject, _ form: Form = .nested) throws(APIError) {
        if let value = request.value("tools") {
            guard let elements = value.array else { throw .wrongType("tools", expected: "an array", found: value) }
            for (position, element) in elements.enumerated() {
                let (function, shown) = try Self.function(element, form, path: "tools[\(position)]")
                functions.append(function)
                tools.append(shown)
            }
            if let twice = Dictionary(grouping: functions, by: \.name).first(where: { $1.count > 1 })?.key {
                throw .wrongValue("tools", "names the function '\(twice)' more than once")
            }
        }
        allowsSeveral = try request.bool("parallel_tool_calls") ?? true
        choice = try Self.choice(&request, functions, form)
        try request.refuse("functions", unless: [[]], "it has become 'tools'; send that")
        try request.refuse("function_call", unless: ["none", "auto"], "it has become 'tool_choice'; send that")
    }

    /// The functions that the model is shown; none where it is to call none.
    var shown: [JSON] { choice == .none ? [] : tools }

    /// The functions one of which must be called; empty where the model decides.
    var required: [Function] {
        switch choice {
        case .auto, .none: []
        case .required: functions
        case .function(let name): functions.filter { $0.name == name }
        }
    }

    /// Refuses a form of the answer beside a call that must be made.
    func check(against structure: StructureFields) throws(APIError) {
        guard !required.isEmpty, structure.structure != nil else { return }
        throw .wrongValue(
            structure.param, "cannot be combined with a 'tool_choice' that requires a call; an answer has one form")
    }

    /// A tool, and how templates are shown it.
    private static func function(
        _ json: JSON, _ form: Form, path: String
    ) throws(APIError) -> (Function, shown: JSON) {
        var tool = try RequestObject(json, path: path)
        guard let type = try tool.string("type") else { throw .missing("\(path).type") }
        guard type == "function" else {
            throw .unsupportedValue("\(path).type", "is '\(type)', and the tools of this server are functions")
        }
        if form == .nested {
            let description = try tool.required("function")
            try tool.finish()
            var object = try RequestObject(description, path: "\(path).function")
            return (try function(&object), json)
        }
        let function = try function(&tool)
        var description = json.object ?? JSONObject()
        description["type"] = nil
        description["strict"] = nil
        return (function, ["type": "function", "function": .object(description)])
    }

    private static func function(_ object: inout RequestObject) throws(APIError) -> Function {
        guard let name = try object.string("name"), !name.isEmpty else { throw .missing(object.name(of: "name")) }
        _ = try object.string("description")
        // Arguments are followed strictly where a call is required, and read as they come where it is not
        _ = try object.bool("strict")
        let parameters = object.value("parameters") ?? ["type": "object", "properties": [:]]
        guard parameters.object != nil else {
            throw .wrongType(object.name(of: "parameters"), expected: "a JSON schema", found: parameters)
        }
        try object.finish()
        return Function(name: name, parameters: parameters)
    }

    private static func choice(
        _ request: inout RequestObject, _ functions: [Function], _ form: Form
    ) throws(APIError) -> Choice {
        guard let value = request.value("tool_choice") else { return .auto }
        if let text = value.string {
            switch text {
            case "auto": return .auto
            case "none": return .none
            case "required" where !functions.isEmpty: return .required
            case "required": throw .wrongValue("tool_choice", "is 'required', and there are no tools")
            default: throw .wrongValue("tool_choice", "is '\(text)', and must be auto, none, required or a function")
            }
        }
        var object = try RequestObject(value, path: "tool_choice")
        guard try object.string("type") == "function" else {
            throw .wrongValue("tool_choice.type", "must be 'function'")
        }
        let name: String
        let param: String
        if form == .flat {
            param = "tool_choice.name"
            name = try Self.name(&object)
        } else {
            param = "tool_choice.function.name"
            var function = try RequestObject(try object.required("function"), path: "tool_choice.function")
            name = try Self.name(&function)
            try function.finish()
        }
        try object.finish()
        let names = functions.map(\.name)
        guard names.contains(name) else {
            throw .wrongValue(
                param, "is '\(name)', and \(names.isEmpty ? "there are no tools" : "the tools are \(names.quoted)")")
        }
        return .function(name)
    }

    private static func name(_ object: inout RequestObject) throws(APIError) -> String {
        guard let name = try object.string("name") else { throw .missing(object.name(of: "name")) }
        return name
    }
}
