import Hummingbird
import Logging

/// Logs a line for each request when its response is there, or its stream has ended: method, path, status, milliseconds and tokens, never
/// what was asked or answered.
struct RequestLogMiddleware: RouterMiddleware {
    typealias Context = ServerContext

    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        let begin = ContinuousClock.now
        let line = LogLine(method: request.method.rawValue, path: request.uri.path, begin: begin, context: context)
        var response: Response
        do {
            response = try await next(request, context)
        } catch {
            line.write(status: "failed")
            throw error
        }
        let (status, body) = (response.status.code, response.body)
        guard body.contentLength == nil else {
            line.write(status: "\(status)")
            return response
        }
        // A stream has only begun: its end is observed.
        response.body = ResponseBody { writer in
            do {
                try await body.write(writer)
                line.write(status: "\(status)")
            } catch {
                line.write(status: "\(status) disconnected")
                throw error
            }
        }
        return response
    }

    private struct LogLine {
        let method: String
        let path: String
        let begin: ContinuousClock.Instant
        let context: ServerContext

        func write(status: String) {
            let milliseconds = (ContinuousClock.now - begin) / .milliseconds(1)
            var text = "\(method) \(path) \(status) \(Int(milliseconds.rounded())) ms"
            let tokens = context.record.tokens
            if tokens.prompt > 0 { text += " \(tokens.prompt)+\(tokens.generated) tokens" }
            if let failure = context.record.failure { text += " failed: \(failure)" }
            context.logger.info("\(text)")
        }
    }
}
