import HTTPTypes
import MoruBase
import MoruEngine

extension APIError {
    /// Any error, as the client is told of it. Errors that are no `MoruError` are defects, and say no more than that.
    init(_ error: any Error, param: String? = nil) {
        switch error {
        case let error as APIError: self = error
        case let error as MoruError: self.init(error, param: param)
        case is CancellationError: self.init(MoruError(.cancelled, "the request was cancelled"))
        default:
            self.init(
                status: .internalServerError, type: "server_error", code: "internal_error", param: nil,
                message: "The server failed in an unexpected way; its log says how.")
        }
    }

    /// An error of Moru: the status follows from its kind, but for the few codes that have one of their own.
    ///
    /// - Parameter param: The request's field that led to it.
    init(_ error: MoruError, param: String? = nil) {
        let (status, code) = Self.statusAndCode(of: error.code)
        let remedy = error.remedy.map { "; \($0)" } ?? ""
        self.init(
            status: status, type: Self.type(of: status), code: code, param: param,
            message: Self.sentence(error.message + remedy))
        if let load = error.cause as? EngineOverload { headers[.retryAfter] = String(load.retryAfterSeconds) }
        if error.code == .memoryInUse { headers[.retryAfter] = "1" }
        if error.code == .modelLoading { headers[.retryAfter] = "5" }
        // OpenAI's clients try again by themselves, where the same request would only fail again.
        if [.requestTimeout, .modelTooLarge].contains(error.code), let name = HTTPField.Name("x-should-retry") {
            headers[name] = "false"
        }
    }

    /// An error of what an administrator asked for: where a model cannot be loaded, the status follows from why.
    static func administration(_ error: MoruError) -> APIError {
        var rendered = APIError(error)
        if error.code == .modelLoadFailed, let cause = error.cause as? MoruError {
            rendered.status = status(of: cause.code.kind)
            rendered.type = type(of: rendered.status)
        }
        return rendered
    }

    private static func statusAndCode(of code: MoruError.Code) -> (HTTPResponse.Status, String) {
        switch code {
        case .promptTooLong: (.badRequest, "context_length_exceeded")
        case .samplingInvalid, .requestInvalid: (.badRequest, "invalid_value")
        case .jsonMalformed: (.badRequest, "malformed_json")
        case .requestTimeout: (.gatewayTimeout, "request_timeout")
        case .engineOverloaded: (.tooManyRequests, "overloaded")
        case .engineShutDown, .serverStopping: (.serviceUnavailable, "shutting_down")
        case .modelUnknown: (.notFound, "model_not_found")
        case .modelLoadFailed: (.serviceUnavailable, "model_load_failed")
        case .modelLoading: (.serviceUnavailable, "model_loading")
        case .modelTooLarge: (.serviceUnavailable, "model_too_large")
        case .memoryInUse: (.serviceUnavailable, "memory_in_use")
        // The request is sound, the model is not.
        case .logitsNotFinite: (.internalServerError, code.name)
        default: (status(of: code.kind), code.name)
        }
    }

    private static func status(of kind: MoruError.Kind) -> HTTPResponse.Status {
        switch kind {
        case .invalidInput, .unsupported: .badRequest
        case .notFound: .notFound
        case .limit: .serviceUnavailable
        case .conflict: .conflict
        case .io, .internal: .internalServerError
        case .cancelled: HTTPResponse.Status(code: 499, reasonPhrase: "Client Closed Request")
        }
    }

    private static func type(of status: HTTPResponse.Status) -> String {
        if status == .tooManyRequests { return "rate_limit_error" }
        return status.code >= 500 ? "server_error" : "invalid_request_error"
    }

    private static func sentence(_ text: String) -> String {
        let capitalised = text.prefix(1).uppercased() + text.dropFirst()
        return text.hasSuffix(".") ? capitalised : capitalised + "."
    }
}
