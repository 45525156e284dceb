import Hummingbird
import MoruBase

extension Response {
    /// A JSON body.
    init(_ json: JSON, status: HTTPResponse.Status = .ok, headers: HTTPFields = [:]) {
        var headers = headers
        headers[.contentType] = "application/json"
        self.init(status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(string: json.text())))
    }

    /// An error in OpenAI's shape.
    init(_ error: APIError) {
        self.init(error.json, status: error.status, headers: error.headers)
    }
}

extension Request {
    /// The body as JSON.
    ///
    /// - Throws: ``APIError`` when its type is not JSON (a web page could otherwise post across origins without asking
    ///   first), when it is too large, and when it is malformed, naming line and column.
    func json(upTo maximumBytes: Int) async throws -> JSON {
        let type = headers[.contentType] ?? "none"
        guard type.split(separator: ";").first?.lowercased() == "application/json" else {
            throw APIError.invalid(
                "unsupported_media_type", "The body's content type is \(type); send 'Content-Type: application/json'.",
                status: .unsupportedMediaType)
        }
        return try JSON.parse(try await bytes(upTo: maximumBytes), source: "request body")
    }

    /// The body.
    ///
    /// - Throws: ``APIError`` when it is compressed, too large, or ends early.
    func bytes(upTo maximumBytes: Int) async throws -> [UInt8] {
        if let encoding = headers[.contentEncoding], encoding != "identity" {
            throw APIError.invalid(
                "unsupported_media_type", "The body is compressed (\(encoding)); send it as it is.",
                status: .unsupportedMediaType)
        }
        let tooLarge = APIError.invalid(
            "request_too_large", "The request body is larger than this server's limit of \(maximumBytes) bytes.",
            status: .contentTooLarge)
        // Said before it has come, where the client says how long it is
        if let length = headers[.contentLength].flatMap({ Int($0) }), length > maximumBytes { throw tooLarge }
        do {
            var buffer = try await body.collect(upTo: maximumBytes)
            return buffer.readBytes(length: buffer.readableBytes) ?? []
        } catch let error as any HTTPResponseError where error.status == .contentTooLarge {
            throw tooLarge
        } catch let error as CancellationError {
            throw error
        } catch {
            throw APIError.invalid(
                "malformed_body", "The request body could not be read to its end: \(error).")
        }
    }
}
