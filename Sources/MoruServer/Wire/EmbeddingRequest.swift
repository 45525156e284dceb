import MoruBase

/// The body of `POST /v1/embeddings`.
struct EmbeddingRequest: Sendable {
    /// How a vector is written.
    enum Format: String, Sendable, CaseIterable {
        /// An array of numbers.
        case float
        /// Its f32, the lowest byte first, in Base64.
        case base64
    }

    var model: ModelChoice
    var texts: TextInputs
    var format: Format
    /// Elements of a vector; nil for as many as the model's have.
    var dimensions: Int?

    /// Reads the body.
    init(_ json: JSON) throws(APIError) {
        var request = try RequestObject(json)
        model = try ModelChoice(&request)
        texts = try TextInputs(&request)
        texts.prompt = try request.string("prompt_name")
        let name = try request.string("encoding_format") ?? Format.float.rawValue
        guard let format = Format(rawValue: name) else {
            throw .unsupportedValue("encoding_format", "is '\(name)'; it is 'float' or 'base64'")
        }
        self.format = format
        dimensions = try request.int("dimensions", in: 1...Int.max)
        try request.finish()
    }
}
