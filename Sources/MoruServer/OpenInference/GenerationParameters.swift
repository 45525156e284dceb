import MoruBase

extension CompletionRequest {
    /// Fields of completions that mean nothing for a tensor of texts.
    private static let refused = [
        "model": "the path names the model", "prompt": "it is an input", "stream": "use 'generate_stream'",
        "stream_options": "use 'generate_stream'", "n": "send the text more than once",
        "logprobs": "there is no output for it",
    ]
    /// Values of those that ask for what happens anyway.
    private static let harmless: [String: JSON] = ["stream": false, "n": 1]

    /// The completions that a request of the Open Inference Protocol asks for. The parameters are the fields of
    /// `POST /v1/completions`.
    ///
    /// - Throws: ``APIError`` that names the parameter.
    init(_ texts: InferenceTexts, parameters: JSONObject, model: String) throws(APIError) {
        var fields = JSONObject()
        for (key, value) in parameters.members where !value.isNull && value != Self.harmless[key] {
            if let reason = Self.refused[key] { throw .unsupported("parameters.\(key)", reason) }
            fields[key] = value
        }
        fields["model"] = .string(model)
        fields["prompt"] =
            switch texts {
            case .texts(let texts): .array(texts.map { .string($0) })
            case .tokens(let rows): .array(rows.map { .array($0.map { .int(Int($0)) }) })
            }
        try self.init(.object(fields))
    }
}
