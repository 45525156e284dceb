import Foundation
import Hummingbird
import MoruBase

/// The body of the answer of `POST /v1/embeddings`, as OpenAI's API has it.
struct EmbeddingAnswer: Sendable {
    var model: String
    var vectors: [[Float]]
    var format: EmbeddingRequest.Format
    var tokenCount: Int

    /// The response. Its text is put together here, since thousands of vectors as JSON values would take a while.
    func response() async -> Response {
        var text = #"{"object":"list","data":["#
        for (index, vector) in vectors.enumerated() {
            if index > 0 { text += "," }
            text += #"{"object":"embedding","index":\#(index),"embedding":"#
            text += Self.written(vector, format)
            text += "}"
            await Task.yield()
        }
        let usage = TokenUsage(promptTokens: tokenCount).textJSON
        text += #"],"model":\#(JSON.string(model).text()),"usage":\#(usage.text())}"#
        return Response(
            status: .ok, headers: [.contentType: "application/json"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }

    private static func written(_ vector: [Float], _ format: EmbeddingRequest.Format) -> String {
        switch format {
        case .float: return "[" + vector.map(\.description).joined(separator: ",") + "]"
        case .base64:
            let bits = vector.map(\.bitPattern.littleEndian)
            return "\"" + bits.withUnsafeBytes { Data($0) }.base64EncodedString() + "\""
        }
    }
}

extension TokenUsage {
    /// `usage` of what generates nothing.
    var textJSON: JSON { ["prompt_tokens": .int(promptTokens), "total_tokens": .int(promptTokens)] }
}
