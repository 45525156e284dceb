import Foundation
import MoruBase
import NIOHTTP1

/// A request that failed in a way that may pass.
struct HubFailure: Error {
    enum Retry {
        /// No connection could be made.
        case unreachable
        /// The connection broke, or the server had trouble.
        case dropped
        /// The server asks to wait.
        case later(Duration)
    }

    let error: MoruError
    let retry: Retry
}

/// Counts attempts and waits between them, twice as long each time.
struct HubAttempts {
    private let patience: HubPatience
    private var made = 0

    init(_ patience: HubPatience) { self.patience = patience }

    /// Starts the count anew, because bytes arrived.
    mutating func reset() { made = 0 }

    /// Waits before the next attempt.
    ///
    /// - Throws: The failure's error when there is no next attempt.
    mutating func pause(after failure: HubFailure, note: (String) -> Void) async throws {
        made += 1
        var wait = patience.firstPause * (1 << min(made - 1, 10))
        var limit = patience.attempts
        switch failure.retry {
        case .unreachable: limit = patience.connectAttempts
        case .dropped: break
        case .later(let asked):
            guard asked <= patience.longestPause else {
                throw MoruError(
                    .hubRateLimited, "\(failure.error.message); the server asks to wait \(asked.components.seconds) s",
                    remedy: "try again after that; a token (HF_TOKEN) raises the hub's limits",
                    cause: failure.error.cause)
            }
            wait = max(asked, wait)
        }
        guard made < limit else { throw failure.error }
        wait = min(wait, patience.longestPause)
        let seconds = Double(wait.components.seconds) + Double(wait.components.attoseconds) * 1e-18
        note("\(failure.error.message); trying again in \(String(format: "%.1f", seconds)) s")
        do { try await Task.sleep(for: wait) } catch {
            throw MoruError(.cancelled, "stopped while waiting for the hub")
        }
    }
}

extension HubClient {
    /// The error for an answer that is not what was asked for.
    func failure(_ response: HubResponse, subject: HubSubject) async -> any Error {
        let body = (try? await collect(response, limit: 64 << 10, subject: subject)) ?? []
        let said = response.headers.first(name: "X-Error-Message") ?? Self.message(in: body)
        let code = response.headers.first(name: "X-Error-Code") ?? ""
        let cause = said.map { HubSaid(text: $0) }
        let page = "\(settings.endpoint)/\(subject.repository)"
        let origin = settings.tokenOrigin ?? "HF_TOKEN"
        func final(_ code: MoruError.Code, _ message: String, _ remedy: String) -> MoruError {
            MoruError(code, message, remedy: remedy, cause: cause)
        }
        switch (response.status, code) {
        case (401, "GatedRepo"), (403, "GatedRepo"):
            let remedy =
                settings.token == nil
                ? "accept its terms at \(page), then set HF_TOKEN to a token of that account"
                : "accept its terms at \(page) with the account whose token is in \(origin)"
            return final(.hubAccessDenied, "\(subject) is gated: its owner grants access to accounts", remedy)
        case (401, _) where settings.token == nil:
            return final(
                .hubNotFound, "the hub has no \(subject), or does not show it without a token",
                "check the name; if the repository is private or gated, set HF_TOKEN")
        case (401, _):
            return final(
                .hubAccessDenied, "the hub does not accept the token from \(origin) for \(subject)",
                "make a new token at \(settings.endpoint)/settings/tokens and set HF_TOKEN")
        case (403, _):
            return final(
                .hubAccessDenied, "the hub refuses access to \(subject)",
                "ask its owner for access at \(page), and set HF_TOKEN to a token that may read it")
        case (404, "RevisionNotFound"):
            return final(
                .hubNotFound, "\(subject.repository) has no revision '\(subject.revision)'",
                "see its branches and tags at \(page)/tree/main")
        case (404, "EntryNotFound"):
            return final(.hubNotFound, "there is no \(subject)", "see its files at \(page)/tree/main")
        case (404, _):
            return final(
                .hubNotFound, "the hub has no \(subject)",
                settings.token == nil
                    ? "check the name; if the repository is private, set HF_TOKEN"
                    : "check the name, and that the token from \(origin) may read it")
        case (408, _), (425, _), (429, _), (500..., _):
            let message = "\(HubClient.bare(response.url)) answers \(response.status) for \(subject)"
            let error = MoruError(
                response.status == 429 ? .hubRateLimited : .hubUnreachable, message,
                remedy: "try again later; the next pull resumes where this one stopped", cause: cause)
            let wait = Self.retryAfter(response.headers)
            return HubFailure(error: error, retry: wait.map { .later($0) } ?? .dropped)
        default:
            return final(
                .hubResponseMalformed, "\(HubClient.bare(response.url)) answers \(response.status) for \(subject)",
                "check HF_ENDPOINT (\(settings.endpoint)) and the proxy")
        }
    }

    /// `Retry-After`, in seconds or as an HTTP date.
    static func retryAfter(_ headers: HTTPHeaders, now: Date = Date()) -> Duration? {
        guard let text = headers.first(name: "Retry-After")?.trimmingCharacters(in: .whitespaces) else { return nil }
        if let seconds = Double(text), seconds >= 0, seconds < 1e9 { return .milliseconds(Int(seconds * 1000)) }
        let reader = DateFormatter()
        reader.locale = Locale(identifier: "en_US_POSIX")
        reader.timeZone = TimeZone(identifier: "GMT")
        reader.dateFormat = "EEE, dd MMM yyyy HH:mm:ss zzz"
        return reader.date(from: text).map { .milliseconds(Int(max(0, $0.timeIntervalSince(now)) * 1000)) }
    }

    private static func message(in body: [UInt8]) -> String? {
        guard !body.isEmpty, let json = try? JSON.parse(body, source: "answer") else { return nil }
        return (json["error"]?.string ?? json["message"]?.string).map { String($0.prefix(400)) }
    }
}

/// What the hub said about a failure, in its own words.
struct HubSaid: Error, CustomStringConvertible {
    let text: String
    var description: String { "the hub says: \(text)" }
}
