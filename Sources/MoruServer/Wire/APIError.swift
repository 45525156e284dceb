import HTTPTypes
import MoruBase

/// A failure as OpenAI's API reports it: an HTTP status and `{"error": {"message", "type", "param", "code"}}`.
///
/// Everything that goes wrong in a request becomes one of these, and is rendered here alone.
struct APIError: Error, Sendable, Hashable {
    /// The HTTP status.
    var status: HTTPResponse.Status
    /// The family: `invalid_request_error`, `authentication_error`, `server_error`...
    var type: String
    /// The stable name of what happened, such as `unknown_parameter`.
    var code: String
    /// The request's field at fault, such as `messages[0].content`.
    var param: String?
    /// What happened, and what the client can do about it.
    var message: String
    /// Headers of the response, such as `Allow`.
    var headers: HTTPFields = [:]

    /// A request at fault.
    static func invalid(
        _ code: String, _ message: String, param: String? = nil, status: HTTPResponse.Status = .badRequest
    ) -> APIError {
        APIError(status: status, type: "invalid_request_error", code: code, param: param, message: message)
    }

    /// The body of the response.
    var json: JSON {
        [
            "error": [
                "message": .string(message.printable()), "type": .string(type),
                "param": param.map { .string($0) } ?? .null,
                "code": .string(code),
            ]
        ]
    }

    /// The body of the response below `/v2`, as the Open Inference Protocol has it.
    var openInferenceJSON: JSON { ["error": .string(message.printable())] }
}

extension APIError: CustomStringConvertible {
    /// What happened, for the log.
    var description: String { message.printable() }
}

extension APIError {
    /// A field of the wrong kind.
    static func wrongType(_ param: String, expected: String, found: JSON) -> APIError {
        .invalid("invalid_type", "'\(param)' must be \(expected), not \(found.kindName).", param: param)
    }

    /// A field of the right kind whose value cannot be.
    static func wrongValue(_ param: String, _ problem: String) -> APIError {
        .invalid("invalid_value", "'\(param)' \(problem).", param: param)
    }

    /// A field that must be there.
    static func missing(_ param: String) -> APIError {
        .invalid("missing_required_parameter", "'\(param)' is required.", param: param)
    }

    /// A field of OpenAI's API that this server does not act on.
    static func unsupported(_ param: String, _ reason: String) -> APIError {
        .invalid("unsupported_parameter", "'\(param)' is not supported: \(reason).", param: param)
    }

    /// A value of OpenAI's API that this server does not act on.
    static func unsupportedValue(_ param: String, _ reason: String) -> APIError {
        .invalid("unsupported_value", "'\(param)' \(reason).", param: param)
    }

    /// A method that a path does not have.
    ///
    /// - Parameter allowed: Those that it has, such as `GET, HEAD`.
    static func methodNotAllowed(_ method: HTTPRequest.Method, _ path: String, allowed: String) -> APIError {
        var error = invalid(
            "method_not_allowed", "\(method) \(path) is not possible; use \(allowed).", status: .methodNotAllowed)
        error.headers[.allow] = allowed
        return error
    }

    /// A field that no API has.
    static func unknown(_ param: String, key: String, known: [String]) -> APIError {
        let hint = nearestName(to: key, among: known).map { " Did you mean '\($0)'?" } ?? ""
        return .invalid("unknown_parameter", "Unknown parameter '\(param)'.\(hint)", param: param)
    }
}

extension [String] {
    /// Names as messages list them: `'a', 'b'`.
    var quoted: String { map { "'\($0)'" }.joined(separator: ", ") }
}
