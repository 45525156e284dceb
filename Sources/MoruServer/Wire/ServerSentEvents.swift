import Hummingbird
import MoruBase

/// The frames of an event stream (`text/event-stream`, WHATWG HTML 9.2), as OpenAI's API uses it.
enum ServerSentEvents {
    /// The headers of the response.
    static let headers: HTTPFields = [
        .contentType: "text/event-stream; charset=utf-8", .cacheControl: "no-cache",
    ]

    /// A frame with a value. JSON text has no line breaks, so that one `data` line holds it.
    ///
    /// - Parameter event: The event's name, for streams whose events have one.
    static func frame(_ json: JSON, event: String? = nil) -> ByteBuffer {
        ByteBuffer(string: (event.map { "event: \($0)\n" } ?? "") + "data: \(json.text())\n\n")
    }

    /// The frame that ends a whole stream.
    static var done: ByteBuffer { ByteBuffer(string: "data: [DONE]\n\n") }
}
