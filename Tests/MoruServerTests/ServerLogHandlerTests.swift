import Logging
import MoruBase
import Synchronization
import Testing

@testable import MoruServer

@Suite struct ServerLogHandlerTests {
    private final class Lines: Sendable {
        let all = Mutex<[String]>([])
    }

    private func line(_ format: LogFormat, _ message: Logger.Message, _ facts: Logger.Metadata) -> String {
        let lines = Lines()
        var logger = Logger(label: "test") { _ in
            ServerLogHandler(format) { line in lines.all.withLock { $0.append(line) } }
        }
        logger[metadataKey: "id"] = "7"
        logger.debug("is not wanted")
        logger.info(message, metadata: facts)
        return lines.all.withLock { $0.joined(separator: "\n") }
    }

    @Test func text() {
        let line = line(.text, "POST /v1/completions 200\nor not", ["model": "a b", "ms": "12", "odd": "x\"=\n"])
        let wanted = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z info (.*)/
        #expect(
            line.wholeMatch(of: wanted)?.1
                == #"POST /v1/completions 200 | or not id=7 model="a b" ms=12 odd="x\"=\n""#, "\(line)")
    }

    @Test func json() throws {
        let line = line(.json, "POST \"/\" 200\n", ["model": "a b", "ms": "12", "level": "forged"])
        let object = try JSON.parse(line, source: "line")
        #expect(!line.contains("\n") && object["message"] == "POST \"/\" 200\n" && object["level"] == "info")
        #expect(object["model"] == "a b" && object["ms"] == 12 && object["id"] == 7)
        #expect(object["time"]?.string?.hasSuffix("Z") == true)
    }
}
