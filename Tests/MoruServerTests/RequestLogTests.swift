import Logging
import MoruServer
import MoruTestKit
import Synchronization
import Testing

@Suite(.tags(.live)) struct RequestLogTests {
    @Test func tellsWhatHappenedAndNotWhatWasSaid() async throws {
        let log = RecordedLog()
        try await TestServer.run(try TestServer.tinyModels(), logger: log.logger) { server in
            _ = try await server.post(
                "/v1/completions", ["model": "tiny", "prompt": "sesame", "max_tokens": 3, "stop": "never", "seed": 1])
            _ = try await server.post(
                "/v1/completions",
                ["model": "tiny", "prompt": "sesame", "max_tokens": 3, "seed": 1, "stream": true])
            _ = try await server.post("/v1/completions", ["model": "tiny", "prompt": "sesame", "opens": true])
        }
        let lines = log.lines.filter { $0.contains("POST") }
        #expect(lines.count == 3, "\(log.lines)")
        let done = /POST \/v1\/completions 200 \d+ ms 6\+\d tokens/
        #expect(lines.prefix(2).allSatisfy { $0.wholeMatch(of: done) != nil }, "\(lines)")
        #expect(lines.last?.hasPrefix("POST /v1/completions 400 ") == true)
        #expect(!(log.lines + log.metadata).contains { $0.contains("sesame") })
    }
}

/// Keeps log lines, with their metadata.
private final class RecordedLog: Sendable {
    private let record = Mutex<[(message: String, metadata: String)]>([])

    var lines: [String] { record.withLock { $0.map(\.message) } }
    var metadata: [String] { record.withLock { $0.map(\.metadata) } }

    var logger: Logger {
        var logger = Logger(label: "recorded") { _ in Handler(log: self) }
        logger.logLevel = .info
        return logger
    }

    private struct Handler: LogHandler {
        let log: RecordedLog
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.info

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            log.record.withLock { $0.append(("\(event.message)", "\(metadata) \(event.metadata ?? [:])")) }
        }
    }
}
