import Hummingbird
import Logging
import MoruBase
import MoruEngine

/// Counts each request, and logs a line for it, when its response is there or its stream has ended: method, path and
/// status, and as metadata the model, the tokens and the times; never what was asked or answered.
struct RequestLogMiddleware: RouterMiddleware {
    typealias Context = ServerContext

    let meter: RequestMeter

    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        meter.begin()
        let end = RequestEnd(request: request, begin: .now, context: context, meter: meter)
        var response: Response
        do {
            response = try await RequestRecord.$current.withValue(context.record) {
                try await ConnectionMonitor.$channel.withValue(context.channel) { try await next(request, context) }
            }
        } catch {
            end.note(status: 500)
            throw error
        }
        let (status, body) = (response.status.code, response.body)
        guard body.contentLength == nil else {
            end.note(status: status)
            return response
        }
        // A stream has only begun: its end is observed.
        response.body = ResponseBody { writer in
            do {
                try await body.write(writer)
                // That a client has gone away may be known before anything is written to it
                end.note(status: context.record.failure == MoruError.Code.cancelled.name ? 499 : status)
            } catch {
                // As for those who go away before an answer has begun
                end.note(status: 499)
                throw error
            }
        }
        return response
    }
}

/// A request whose end is to be noted.
private struct RequestEnd {
    let request: Request
    let begin: ContinuousClock.Instant
    let context: ServerContext
    let meter: RequestMeter

    private static let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

    func note(status: Int) {
        let seconds = (ContinuousClock.now - begin).seconds
        let record = context.record
        let method = request.method.rawValue
        // What is at no route would make a series of every path
        let endpoint = context.endpointPath.flatMap { $0 == "NotFound" ? nil : $0 } ?? "none"
        meter.end(
            RequestMeter.Kind(
                method: Self.methods.contains(method) ? method : "other", endpoint: endpoint,
                model: record.model ?? "", status: status),
            seconds: seconds)
        var facts: Logger.Metadata = ["ms": "\(Self.milliseconds(seconds))"]
        facts["model"] = record.model.map { "\($0)" }
        if let usage = record.usage {
            facts["prompt_tokens"] = "\(usage.promptTokens)"
            facts["cached_tokens"] = "\(usage.cachedTokens)"
            facts["generated_tokens"] = "\(usage.completionTokens)"
            facts["first_token_ms"] = usage.secondsToFirstToken.map { "\(Self.milliseconds($0))" }
        }
        facts["failure"] = record.failure.map { "\($0)" }
        context.logger.info("\(method) \(request.uri.path) \(status)", metadata: facts)
    }

    private static func milliseconds(_ seconds: Double) -> Int { Int((seconds * 1000).rounded()) }
}
