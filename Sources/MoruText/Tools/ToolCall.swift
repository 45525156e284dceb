import MoruBase

/// A function that a model asks to be called.
public struct ToolCall: Sendable, Hashable {
    /// The function's name.
    public var name: String
    /// Its arguments, an object.
    public var arguments: JSON
    /// What its result will refer to it by; nil while it has no such name.
    public var id: String?

    /// Makes a call.
    public init(name: String, arguments: JSON, id: String? = nil) {
        self.name = name
        self.arguments = arguments
        self.id = id
    }

    /// Reads a call as models write it: the name with `arguments` or `parameters`, also inside `function`.
    init?(_ json: JSON) {
        let call = json["function"]?.object == nil ? json : json["function"] ?? json
        guard let name = call["name"]?.string ?? json["function"]?.string, !name.isEmpty else { return nil }
        let arguments = call["arguments"] ?? call["parameters"] ?? [:]
        // Some models write the arguments as OpenAI's API does, as text
        if let text = arguments.string {
            self.init(name: name, text: text)
            return
        }
        guard arguments.object != nil else { return nil }
        self.init(name: name, arguments: arguments)
    }

    /// Reads a call whose arguments are JSON beside its name.
    init?(name: some StringProtocol, text: some StringProtocol) {
        let name = name.trimmed
        guard !name.isEmpty, !name.contains(where: \.isWhitespace),
            let arguments = try? JSON.parse(String(text.trimmed), source: "arguments"), arguments.object != nil
        else { return nil }
        self.init(name: String(name), arguments: arguments)
    }
}

extension StringProtocol {
    /// The text without white space at its ends.
    var trimmed: Substring {
        var text = Substring(self)
        while text.first?.isWhitespace == true { text.removeFirst() }
        while text.last?.isWhitespace == true { text.removeLast() }
        return text
    }

    /// What stands before the first occurrence of a mark, and what after it; nil where there is none.
    func parted(by mark: String) -> (before: Substring, after: Substring)? {
        let text = Substring(self)
        guard let range = text.firstRange(of: mark) else { return nil }
        return (text[..<range.lowerBound], text[range.upperBound...])
    }
}
