import MoruBase

extension TextInput {
    /// The texts of a field, and the name of each: a string, an array of strings, an array of token ids, or an array of
    /// arrays of token ids.
    static func list(_ value: JSON, field: String) throws(APIError) -> ([TextInput], [String]) {
        switch value {
        case .string(let text): return ([.text(text)], [field])
        case .array(let elements):
            guard let first = elements.first else { throw .wrongValue(field, "is empty") }
            if case .int = first { return ([.tokens(try tokens(elements, path: field))], [field]) }
            let names = elements.indices.map { "\(field)[\($0)]" }
            var inputs: [TextInput] = []
            inputs.reserveCapacity(elements.count)
            for (element, name) in zip(elements, names) { inputs.append(try one(element, name, like: first)) }
            return (inputs, names)
        default:
            throw .wrongType(field, expected: "a string or an array of strings, ids or arrays of ids", found: value)
        }
    }

    private static func one(_ element: JSON, _ name: String, like first: JSON) throws(APIError) -> TextInput {
        switch (element, first) {
        case (.string(let text), .string): return .text(text)
        case (.array(let ids), .array):
            guard !ids.isEmpty else { throw .wrongValue(name, "is empty") }
            return .tokens(try tokens(ids, path: name))
        default:
            let expected =
                first.string != nil
                ? "a string" : first.array != nil ? "an array of token ids" : "a string or a token id"
            throw .wrongType(name, expected: expected, found: element)
        }
    }

    private static func tokens(_ elements: [JSON], path: String) throws(APIError) -> [Int32] {
        var ids: [Int32] = []
        ids.reserveCapacity(elements.count)
        for (position, element) in elements.enumerated() {
            guard case .int(let value) = element else {
                throw .wrongType("\(path)[\(position)]", expected: "a token id", found: element)
            }
            guard let id = Int32(exactly: value), id >= 0 else {
                throw .wrongValue("\(path)[\(position)]", "is \(value), which is not a token id")
            }
            ids.append(id)
        }
        return ids
    }
}

extension TextInputs {
    /// Reads `input`, and vLLM's fields that say how it is to be read: `truncate_prompt_tokens`, -1 for as many as the
    /// model reads, and `add_special_tokens`.
    init(_ request: inout RequestObject) throws(APIError) {
        let (inputs, names) = try TextInput.list(try request.required("input"), field: "input")
        self.init(inputs, names: names)
        cutTokens = try Self.cutTokens(&request)
        addsSpecialTokens = try request.bool("add_special_tokens") ?? true
        try request.refuse("messages", "a conversation is not a text; send texts as 'input'")
    }

    /// `truncate_prompt_tokens`.
    static func cutTokens(_ request: inout RequestObject) throws(APIError) -> Int? {
        let name = "truncate_prompt_tokens"
        guard let count = try request.int(name, in: -1...Int.max) else { return nil }
        guard count != 0 else { throw .wrongValue(name, "is 0; use 1 or more, or -1 for as many as the model reads") }
        return count == -1 ? .max : count
    }
}
