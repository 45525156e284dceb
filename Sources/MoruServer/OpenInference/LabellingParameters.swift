import MoruBase

/// A parameter of models that classify or embed.
enum LabellingParameter: Sendable, Hashable {
    case truncate
    case prompt
}

extension TextInputs {
    /// What a request of the Open Inference Protocol gives a model that classifies or embeds.
    ///
    /// Parameters: `truncate` cuts texts that are longer than the model takes; `prompt_name` is an embedder's prompt to
    /// go before each text.
    ///
    /// - Parameter allowed: The parameters that mean something to the model.
    /// - Throws: ``APIError`` that names the parameter.
    init(_ texts: InferenceTexts, parameters: JSONObject, allowing allowed: Set<LabellingParameter>) throws(APIError) {
        var parameters = try RequestObject(.object(parameters), path: "parameters")
        let inputs: [TextInput] =
            switch texts {
            case .texts(let texts): texts.map { .text($0) }
            case .tokens(let rows): rows.map { .tokens($0) }
            }
        self.init(inputs, in: "text")
        if allowed.contains(.truncate), try parameters.bool("truncate") == true { cutTokens = .max }
        if allowed.contains(.prompt) { prompt = try parameters.string("prompt_name") }
        try parameters.finish()
    }
}
