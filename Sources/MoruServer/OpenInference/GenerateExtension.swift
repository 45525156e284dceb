import Hummingbird
import MoruBase
import MoruEngine
import MoruText

/// The body of `POST /v2/models/{name}/generate` and `generate_stream`, as Triton's generate extension has it:
/// `{"text_input", "parameters"}`. Other fields are parameters as well.
struct GenerateRequest: Sendable, Hashable {
    /// The text to be continued.
    let text: String
    /// The parameters, with the names of completions.
    let parameters: JSONObject

    /// Reads the body.
    ///
    /// - Parameter streams: Whether the answer comes in pieces, which the field `stream` may say as well.
    init(_ json: JSON, streams: Bool) throws(APIError) {
        var request = try RequestObject(json)
        guard let text = try request.string("text_input") else { throw .missing("text_input") }
        self.text = text
        let value = request.value("parameters") ?? [:]
        guard var parameters = value.object else {
            throw .wrongType("parameters", expected: "an object", found: value)
        }
        for (key, value) in (json.object ?? JSONObject()).members where !["text_input", "parameters"].contains(key) {
            guard parameters[key] == nil else {
                throw .wrongValue(key, "stands in 'parameters' and beside it; send one of them")
            }
            parameters[key] = value
        }
        if let asked = parameters["stream"], !asked.isNull, asked != .bool(streams) {
            throw .wrongValue("stream", "must be \(streams) here; the path says whether the answer comes in pieces")
        }
        parameters["stream"] = nil
        self.parameters = parameters
    }
}

/// How an answer of the generate extension is written, whole or in pieces.
struct GenerateFormat: ChunkFormat {
    let modelName: String
    let modelVersion: String

    func answer(_ choices: [CollectedChoice], _ usage: TokenUsage) -> JSON {
        object(choices.map(\.text).joined(), choices.first?.reason)
    }

    func opening(of index: Int) -> JSON? { nil }

    func chunk(_ index: Int, _ piece: ChoicePiece) -> JSON { object(piece.text) }

    // Nothing is called here
    func chunk(_ index: Int, _ call: ToolCall, number: Int) -> JSON { object("") }

    func closing(of index: Int, _ reason: FinishReason, hasCalls: Bool) -> JSON { object("", reason) }

    func usageChunk(_ usage: TokenUsage) -> JSON { usage.json }

    /// Triton's clients take the connection's end for the end.
    var ending: ByteBuffer? { nil }

    func failure(_ error: APIError) -> JSON { error.openInferenceJSON }

    private func object(_ text: String, _ reason: FinishReason? = nil) -> JSON {
        var object = JSONObject([
            ("model_name", .string(modelName)), ("model_version", .string(modelVersion)),
            ("text_output", .string(text)),
        ])
        if let reason { object["finish_reason"] = .string(reason.name) }
        return .object(object)
    }
}
