import MoruBase

extension TextInputs {
    /// What a request of the Open Inference Protocol gives a model that classifies or embeds.
    ///
    /// Parameters: `truncate` cuts texts that are longer than the model takes; `prompt_name` is an embedder's prompt to
    /// go before each text.
    ///
    /// - Throws: ``APIError`` that names the parameter.
    init(_ texts: InferenceTexts, parameters: JSONObject, isEmbedder: Bool) throws(APIError) {
        var parameters = try RequestObject(.object(parameters), path: "parameters")
        let inputs: [TextInput] =
            switch texts {
            case .texts(let texts): texts.map { .text($0) }
            case .tokens(let rows): rows.map { .tokens($0) }
            }
        self.init(inputs, in: "text")
        if try parameters.bool("truncate") == true { cutTokens = .max }
        if isEmbedder { prompt = try parameters.string("prompt_name") }
        try parameters.finish()
    }
}
