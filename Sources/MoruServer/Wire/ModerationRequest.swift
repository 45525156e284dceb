import MoruBase

/// The body of `POST /v1/moderations`.
struct ModerationRequest: Sendable {
    /// nil for the server's first model.
    var model: String?
    var texts: TextInputs

    /// Reads the body.
    init(_ json: JSON) throws(APIError) {
        var request = try RequestObject(json)
        model = try request.string("model")
        texts = try Self.texts(try request.required("input"))
        try request.finish()
    }

    /// `input`: a string, an array of strings, or an array with one part of a message, a text.
    private static func texts(_ value: JSON) throws(APIError) -> TextInputs {
        switch value {
        case .string(let text): return TextInputs([.text(text)], names: ["input"])
        case .array(let elements):
            guard !elements.isEmpty else { throw .wrongValue("input", "is empty") }
            if elements.contains(where: { $0.object != nil }) { return try part(elements) }
            var inputs: [TextInput] = []
            for (index, element) in elements.enumerated() {
                guard let text = element.string else {
                    throw .wrongType("input[\(index)]", expected: "a string", found: element)
                }
                inputs.append(.text(text))
            }
            return TextInputs(inputs, in: "input")
        default: throw .wrongType("input", expected: "a string or an array of strings", found: value)
        }
    }

    private static func part(_ elements: [JSON]) throws(APIError) -> TextInputs {
        for (index, element) in elements.enumerated() where element["type"]?.string == "image_url" {
            throw .unsupportedValue("input[\(index)].type", "is 'image_url', and only texts are moderated")
        }
        guard elements.count == 1 else {
            throw .unsupportedValue("input", "has several parts of one message; send an array of strings")
        }
        var object = try RequestObject(elements[0], path: "input[0]")
        guard try object.string("type") == "text", let text = try object.string("text") else {
            throw .wrongValue("input[0]", "is not a part of type 'text' with a 'text'")
        }
        try object.finish()
        return TextInputs([.text(text)], names: ["input[0].text"])
    }
}
