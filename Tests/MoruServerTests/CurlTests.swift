import Foundation
import MoruBase
import MoruServer
import MoruTestKit
import Testing

/// What people type.
@Suite(.tags(.live), .enabled(if: Curl.path != nil, "needs curl")) struct CurlTests {
    private static let json = ["-H", "Content-Type: application/json"]

    private func curl(_ server: TestServer, _ path: String, _ arguments: [String]) async throws -> Curl.Result {
        try await inBackground { try Curl.run(arguments + ["http://127.0.0.1:\(server.port)\(path)"]) }
    }

    @Test func streams() async throws {
        try await TestServer.run([try ServedModel.alphabet()]) { server in
            let body = #"{"model": "alphabet", "prompt": "z", "max_tokens": 5, "temperature": 0, "stream": true}"#
            let result = try await curl(server, "/v1/completions", ["-sN"] + Self.json + ["-d", body])
            let frames = result.output.components(separatedBy: "\n\n").filter { !$0.isEmpty }
            #expect(result.status == 0 && frames.last == "data: [DONE]", "\(result)")
            #expect(frames.count == 7 && frames.allSatisfy { $0.hasPrefix("data: ") })
            let response = #"{"model": "alphabet", "input": "z", "stop": "c", "temperature": 0, "stream": true}"#
            let events = try await curl(server, "/v1/responses", ["-sN"] + Self.json + ["-d", response])
            #expect(events.output.hasPrefix("event: response.created\ndata: {"), "\(events)")
            #expect(events.output.contains("\n\nevent: response.completed\ndata: {"))
        }
    }

    @Test func saysWhatIsWrong() async throws {
        try await TestServer.run([try ServedModel.alphabet()]) { server in
            let status = ["-s", "-w", "\n%{http_code} %{content_type}"]
            // Without its type, curl's body is a form
            let form = try await curl(server, "/v1/completions", status + ["-d", #"{"model": "alphabet"}"#])
            #expect(form.output.hasSuffix("\n415 application/json") && form.output.contains("Content-Type"), "\(form)")
            let field = try await curl(
                server, "/v1/completions",
                status + Self.json + ["-d", #"{"model": "alphabet", "prompt": "a", "temprature": 1}"#])
            #expect(field.output.hasSuffix("\n400 application/json"), "\(field)")
            #expect(field.output.contains("Did you mean 'temperature'?"))
            let model = try await curl(
                server, "/v1/responses", status + Self.json + ["-d", #"{"model": "alpha", "input": "a"}"#])
            #expect(model.output.hasSuffix("\n404 application/json"), "\(model)")
            let failing = try await curl(server, "/v1/nothing", ["-sf"])
            #expect(failing.status == 22 && failing.output.isEmpty, "\(failing)")
        }
    }

    @Test func asksForHeads() async throws {
        try await TestServer.run([try ServedModel.alphabet()]) { server in
            for path in ["/health", "/v1/models", "/v1/models/alphabet"] {
                let head = try await curl(server, path, ["-sI"])
                #expect(head.status == 0 && head.output.hasPrefix("HTTP/1.1 200"), "\(head)")
                #expect(head.output.lowercased().contains("content-type: application/json"))
            }
            let post = try await curl(server, "/v1/responses", ["-sI"])
            #expect(
                post.output.hasPrefix("HTTP/1.1 405") && post.output.lowercased().contains("allow: post"), "\(post)")
        }
    }

    @Test func asksForCompression() async throws {
        try await TestServer.run([try ServedModel.alphabet()]) { server in
            // An answer is not compressed, and says so by saying nothing
            let result = try await curl(server, "/v1/models", ["-s", "--compressed", "-i"])
            #expect(result.status == 0 && !result.output.lowercased().contains("content-encoding"), "\(result)")
            #expect(result.output.contains(#""id": "alphabet""#) || result.output.contains(#""id":"alphabet""#))
        }
    }

    @Test("a long body, for which curl first asks whether it may come")
    func sendsMuch() async throws {
        // Without an answer curl would send it after ten minutes
        let asks = ["-s", "-i", "--expect100-timeout", "600"] + Self.json + ["-H", "Expect: 100-continue"]
        let count = ["-w", "\n%{size_upload}"]
        let configuration = ServerConfiguration(apiKey: "secret", maximumBodyBytes: 2_000_000)
        let key = ["-H", "Authorization: Bearer secret"]
        try await TestServer.run([try ServedModel.alphabet(context: 1000)], configuration: configuration) { server in
            let path = TestNeeds.temporaryPath("body.json")
            defer { FileSystem.remove(path) }
            let prompt = String(repeating: "a", count: 1_200_000)
            try FileSystem.write(Array(#"{"model": "alphabet", "prompt": "\#(prompt)"}"#.utf8), to: path)
            let result = try await curl(server, "/v1/completions", asks + key + ["-d", "@\(path)"])
            #expect(result.output.hasPrefix("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 400 "), "\(result)")
            #expect(result.output.contains("1200000 tokens, 1199001 more than the context of 1000"), "\(result)")
            // What is refused anyway is refused before it is sent
            let unknown = try await curl(server, "/v1/completions", asks + count + ["-d", "@\(path)"])
            #expect(unknown.output.hasPrefix("HTTP/1.1 401 ") && unknown.output.hasSuffix("\n0"), "\(unknown)")
            #expect(unknown.output.lowercased().contains("\r\nconnection: close\r\n"))
            let nowhere = try await curl(server, "/v1/nothing", asks + count + key + ["-d", "@\(path)"])
            #expect(nowhere.output.hasPrefix("HTTP/1.1 404 ") && nowhere.output.hasSuffix("\n0"), "\(nowhere)")
            try FileSystem.write(Array(repeating: 0x20, count: 2_000_001), to: path)
            let large = try await curl(server, "/v1/completions", asks + count + key + ["--data-binary", "@\(path)"])
            #expect(large.output.hasPrefix("HTTP/1.1 413 ") && large.output.hasSuffix("\n0"), "\(large)")
        }
    }
}

/// The real curl.
enum Curl {
    static let path = ["/usr/bin/curl", "/bin/curl", "/usr/local/bin/curl"].first { FileSystem.exists($0) }

    struct Result: Sendable {
        var status: Int32
        var output: String
    }

    /// Runs it, four minutes at most: on a machine that is busy with other things, nobody knows how long it takes.
    ///
    /// - Throws: What starting a process throws.
    static func run(_ arguments: [String]) throws -> Result {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path ?? "/usr/bin/curl")
        process.arguments = ["--max-time", "240"] + arguments
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let printed = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return Result(status: process.terminationStatus, output: String(decoding: printed, as: UTF8.self))
    }
}
