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
        let entries = log.entries.filter { $0.message.contains("POST") }
        #expect(entries.map(\.message) == [200, 200, 400].map { "POST /v1/completions \($0)" })
        for entry in entries.prefix(2) {
            let facts = entry.metadata
            #expect(facts["model"] == "tiny" && facts["prompt_tokens"] == "6", "\(facts)")
            #expect(facts["cached_tokens"] == "0" && facts["generated_tokens"].flatMap { Int($0) } != nil)
            let (first, all) = (facts["first_token_ms"].flatMap { Int($0) }, facts["ms"].flatMap { Int($0) })
            #expect(first ?? .max <= all ?? -1, "\(facts)")
        }
        #expect(entries.last.map { Set($0.metadata.keys).isDisjoint(with: ["model", "prompt_tokens"]) } == true)
        #expect(!log.entries.contains { "\($0)".contains("sesame") })
    }
}

/// Keeps log lines, with their metadata.
private final class RecordedLog: Sendable {
    private let record = Mutex<[(message: String, metadata: [String: String])]>([])

    var entries: [(message: String, metadata: [String: String])] { record.withLock { $0 } }

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
            let facts = metadata.merging(event.metadata ?? [:]) { $1 }.mapValues { "\($0)" }
            log.record.withLock { $0.append(("\(event.message)", facts)) }
        }
    }
}
