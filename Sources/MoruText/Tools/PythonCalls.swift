import MoruBase

/// Reads calls that are written as Python writes them: `[name(key="value", other=[1, True, None]), ...]`.
struct PythonCalls {
    private var rest: Substring
    private var depth = 0
    /// How deep lists and dictionaries may stand in each other.
    private static let maximumDepth = 64

    /// The calls of a list; nil when the text is none.
    static func calls(in text: String) -> [ToolCall]? {
        var reader = PythonCalls(rest: text[...])
        guard reader.take("["), let calls = reader.elements("]", { $0.call() }), !calls.isEmpty else { return nil }
        reader.skipSpace()
        return reader.rest.isEmpty ? calls : nil
    }

    private mutating func call() -> ToolCall? {
        guard let name = name(dots: true), take("("),
            let arguments = elements(
                ")",
                { reader -> (String, JSON)? in
                    guard let key = reader.name(), reader.take("="), let value = reader.value() else { return nil }
                    return (key, value)
                })
        else { return nil }
        return ToolCall(name: name, arguments: .object(JSONObject(arguments)))
    }

    /// Values with commas between, up to an end, with a comma before it or not.
    private mutating func elements<Element>(
        _ end: Character, _ read: (inout PythonCalls) -> Element?
    ) -> [Element]? {
        var elements: [Element] = []
        while !take(end) {
            guard elements.isEmpty || take(",") else { return nil }
            if take(end) { break }
            guard let element = read(&self) else { return nil }
            elements.append(element)
        }
        return elements
    }

    private mutating func value() -> JSON? {
        skipSpace()
        guard let first = rest.first, depth < Self.maximumDepth else { return nil }
        depth += 1
        defer { depth -= 1 }
        switch first {
        case "\"", "'": return string().map { .string($0) }
        case "[":
            rest.removeFirst()
            return elements("]") { $0.value() }.map { .array($0) }
        case "(":
            rest.removeFirst()
            return elements(")") { $0.value() }.map { .array($0) }
        case "{":
            rest.removeFirst()
            return elements("}") { reader -> (String, JSON)? in
                guard let key = reader.string(), reader.take(":"), let value = reader.value() else { return nil }
                return (key, value)
            }.map { .object(JSONObject($0)) }
        default: break
        }
        let words: [String: JSON] = [
            "True": true, "False": false, "None": .null, "true": true, "false": false, "null": .null,
        ]
        if first.isLetter { return name().flatMap { words[$0] } }
        let digits = rest.prefix { $0.isASCII && ($0.isNumber || "+-.eE".contains($0)) }
        rest = rest.dropFirst(digits.count)
        return digits.isEmpty ? nil : try? JSON.parse(String(digits), source: "argument")
    }

    private mutating func string() -> String? {
        skipSpace()
        guard let quote = rest.first, quote == "\"" || quote == "'" else { return nil }
        rest.removeFirst()
        var text = ""
        while let character = rest.popFirst() {
            if character == quote { return text }
            guard character == "\\" else {
                text.append(character)
                continue
            }
            guard let escaped = rest.popFirst() else { return nil }
            switch escaped {
            case "n": text.append("\n")
            case "t": text.append("\t")
            case "r": text.append("\r")
            case "\\", "'", "\"": text.append(escaped)
            case "u":
                guard let scalar = UInt32(rest.prefix(4), radix: 16).flatMap(UnicodeScalar.init) else { return nil }
                text.unicodeScalars.append(scalar)
                rest = rest.dropFirst(4)
            default: text += "\\\(escaped)"
            }
        }
        return nil
    }

    private mutating func name(dots: Bool = false) -> String? {
        skipSpace()
        let name = rest.prefix { $0.isLetter || $0.isNumber || $0 == "_" || (dots && ($0 == "." || $0 == "-")) }
        guard let first = name.first, !first.isNumber else { return nil }
        rest = rest.dropFirst(name.count)
        return String(name)
    }

    private mutating func take(_ character: Character) -> Bool {
        skipSpace()
        guard rest.first == character else { return false }
        rest.removeFirst()
        return true
    }

    private mutating func skipSpace() { rest = rest.drop(while: \.isWhitespace) }
}
