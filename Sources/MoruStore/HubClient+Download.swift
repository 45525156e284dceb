import Foundation
import MoruBase
import NIOCore

/// By what a half-received file is known again: what the server said when it began.
struct DownloadValidator: Sendable, Equatable {
    /// The content's identity according to the hub.
    var identity: String?
    /// The entity tag of the host that sends the bytes, in quotes as it came; only strong ones.
    var contentTag: String?
    /// The full size in bytes.
    var size: Int?
}

extension HubClient {
    /// What the caller of a download is told.
    struct DownloadEvents {
        /// Called before the first byte of a file is written, to be remembered for a later resume.
        var begin: (DownloadValidator) throws -> Void
        /// Called with the bytes received so far and the size, if known.
        var progress: (Int, Int?) -> Void
        /// Told why the client waits or starts over.
        var note: (String) -> Void
    }

    /// Downloads `GET /{repository}/resolve/{revision}/{file}` to `path`, going on where the file at `path` ends if
    /// the server still has the same content. The hash is for the caller to check.
    ///
    /// - Parameter validator: What ``DownloadEvents/begin`` was given when the file at `path` was begun.
    func download(
        _ file: HubFile, repository: String, revision: String, to path: String, validator: DownloadValidator?,
        events: DownloadEvents
    ) async throws {
        let subject = HubSubject(repository: repository, revision: revision, file: file.name)
        let address =
            "/\(Self.encode(repository))/resolve/\(Self.encode(revision, keepSlash: false))/\(Self.encode(file.name))"
        var partial = try PartialFile.open(path)
        var known = validator
        var attempts = HubAttempts(patience)
        var restarts = 0
        if partial.count > 0, !canResume(partial.count, known, file) { try partial.startOver() }
        while true {
            if let size = file.size, partial.count == size, size > 0 {
                try partial.flush()
                return
            }
            do {
                var headers: [(String, String)] = []
                if partial.count > 0 {
                    headers.append(("Range", "bytes=\(partial.count)-"))
                    if let tag = known?.contentTag { headers.append(("If-Range", tag)) }
                }
                let response = try await get(address, headers: headers, subject: subject)
                let next = try await begin(response, at: partial.count, known: known, file: file, subject: subject)
                switch next {
                case .startOver(let why):
                    restarts += 1
                    guard restarts <= 3 else {
                        throw MoruError(
                            .hubResponseMalformed, "\(subject) keeps changing while it is fetched: \(why)",
                            remedy: "try again later, or name a commit: hf:\(repository)@COMMIT")
                    }
                    events.note("\(file.name): \(why); starting over")
                    try partial.startOver()
                    known = nil
                    continue
                case .receive(let validator, let fromStart):
                    if fromStart, partial.count > 0 {
                        events.note("\(file.name): the server sends the file from its start; starting over")
                        try partial.startOver()
                    }
                    known = validator
                    try events.begin(validator)
                }
                let before = partial.count
                do {
                    try await receive(response, into: &partial, size: known?.size, subject: subject, events: events)
                } catch {
                    if partial.count > before { attempts.reset() }
                    throw interrupted(by: error, url: response.url, subject: subject, connected: true)
                }
                try partial.flush()
                return
            } catch let failure as HubFailure {
                try await attempts.pause(after: failure, note: events.note)
            }
        }
    }

    private enum Beginning {
        case receive(DownloadValidator, fromStart: Bool)
        case startOver(String)
    }

    /// Whether bytes on disk may be the start of the file: the server's tags can tell, or the hash will.
    private func canResume(_ count: Int, _ known: DownloadValidator?, _ file: HubFile) -> Bool {
        guard let known, known.size == nil || count <= known.size ?? 0 else { return false }
        if let size = file.size, count > size || (known.size ?? size) != size { return false }
        return known.identity != nil || known.contentTag != nil || file.expected != .unknown
    }

    /// Reads an answer's head: whether its bytes go on where the file ends, begin it anew, or do not fit.
    private func begin(
        _ response: HubResponse, at count: Int, known: DownloadValidator?, file: HubFile, subject: HubSubject
    ) async throws -> Beginning {
        let identity = response.linked.identity
        if count > 0, let before = known?.identity, let identity, before != identity {
            return .startOver("the server's file has changed")
        }
        var size: Int?
        switch response.status {
        case 200:
            size = response.headers.first(name: "Content-Length").flatMap { Int($0) }
        case 206:
            guard let range = Self.contentRange(response.headers.first(name: "Content-Range")), range.start == count
            else { return .startOver("the server sends another range than the one requested") }
            size = range.total
            if let before = known?.size, let size, before != size { return .startOver("the server's file has changed") }
        case 416 where count > 0:
            return .startOver("the server has no bytes after the \(count) received")
        default:
            throw await failure(response, subject: subject)
        }
        for other in [response.linked.size, file.size].compactMap({ $0 }) {
            if let size, size != other {
                throw MoruError(
                    .sizeMismatch, "\(subject) has \(size) bytes where \(other) are expected",
                    remedy: "try again later, or pull from another source")
            }
            size = other
        }
        if let size, size < 0 || size > FileSize.maximum {
            throw MoruError(.sizeMismatch, "\(subject) has the impossible size \(size)", remedy: "check HF_ENDPOINT")
        }
        let tag = response.headers.first(name: "ETag").flatMap { $0.hasPrefix("\"") ? $0 : nil }
        let validator = DownloadValidator(identity: identity, contentTag: tag, size: size)
        return .receive(validator, fromStart: response.status == 200)
    }

    private func receive(
        _ response: HubResponse, into partial: inout PartialFile, size: Int?, subject: HubSubject,
        events: DownloadEvents
    ) async throws {
        for try await chunk in response.body {
            let limit = size ?? FileSize.maximum
            guard partial.count + chunk.readableBytes <= limit else {
                throw MoruError(
                    .sizeMismatch, "\(subject): the server sends more than the \(limit) bytes expected",
                    remedy: "try again later, or pull from another source")
            }
            let problem = chunk.withUnsafeReadableBytes { bytes -> MoruError? in
                do throws(MoruError) { try partial.append(bytes) } catch { return error }
                return nil
            }
            if let problem { throw problem }
            events.progress(partial.count, size)
            try Task.checkCancellation()
        }
        if let size, partial.count < size {
            throw HubFailure(
                error: MoruError(
                    .hubUnreachable, "the connection broke after \(partial.count) of \(size) bytes of \(subject)",
                    remedy: "check the network; the next pull resumes where this one stopped"),
                retry: .dropped)
        }
    }

    /// Reads `bytes START-END/TOTAL`.
    static func contentRange(_ header: String?) -> (start: Int, total: Int?)? {
        guard let header, header.lowercased().hasPrefix("bytes ") else { return nil }
        let parts = header.dropFirst(6).split(separator: "/")
        guard parts.count == 2, let start = Int(parts[0].prefix { $0 != "-" }), start >= 0 else { return nil }
        return (start, Int(parts[1]))
    }
}
