import Foundation
import MoruBase
import MoruServer
import MoruTestKit
import Testing

/// Bodies that do not come as they should are the client's fault, and are told so.
@Suite struct RequestBodyTests {
    private static let head =
        "POST /v1/completions HTTP/1.1\r\nHost: moru\r\nConnection: close\r\nContent-Type: application/json\r\n"

    /// What the server answers to bytes after which nothing more comes.
    private func answer(_ port: Int, to text: String) async throws -> String {
        try await inBackground {
            let socket = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            defer { close(socket) }
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = in_port_t(port).bigEndian
            address.sin_addr.s_addr = inet_addr("127.0.0.1")
            let connected = withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            try #require(connected == 0)
            let bytes = Array(text.utf8)
            try #require(write(socket, bytes, bytes.count) == bytes.count)
            shutdown(socket, Int32(SHUT_WR))
            var (answer, buffer) = ([UInt8](), [UInt8](repeating: 0, count: 4096))
            while true {
                let count = read(socket, &buffer, buffer.count)
                guard count > 0 else { return String(decoding: answer, as: UTF8.self) }
                answer += buffer[..<count]
            }
        }
    }

    @Test func bodiesThatEndEarlyOrBreakOff() async throws {
        try await TestServer.run([try ServedModel.alphabet()]) { server in
            let early = try await answer(server.port, to: Self.head + "Content-Length: 50\r\n\r\n{\"model\": ")
            #expect(early.hasPrefix("HTTP/1.1 400 ") && early.contains("malformed_body"), "\(early)")
            let chunk = try await answer(
                server.port, to: Self.head + "Transfer-Encoding: chunked\r\n\r\nZZ\r\nabc\r\n")
            #expect(chunk.hasPrefix("HTTP/1.1 400 "), "\(chunk)")
        }
    }

    @Test func bodiesThatAreTooLongAreRefusedBeforeTheyCome() async throws {
        try await TestServer.run([try ServedModel.alphabet()]) { server in
            let long = try await answer(server.port, to: Self.head + "Content-Length: 99999999999\r\n\r\n{")
            #expect(long.hasPrefix("HTTP/1.1 413 ") && long.contains("request_too_large"), "\(long)")
        }
    }

    @Test func compressedBodiesAreRefused() async throws {
        try await TestServer.run([try ServedModel.alphabet()]) { server in
            let response = try await server.request(
                "POST", "/v1/completions", body: #"{"model": "alphabet", "prompt": "a"}"#,
                headers: [("Content-Encoding", "gzip")])
            #expect(response.status == 415 && response.body.contains("compressed (gzip)"), "\(response)")
        }
    }

    /// A grammar from a request must not take the server down, nor hold it up.
    @Test func grammarsThatAreNoGoodAreRefused() async throws {
        let deep = (0..<20_000).map { "\"d\($0)\": {\"$ref\": \"#/$defs/d\($0 + 1)\"}" }.joined(separator: ", ")
        let schema = "{\"$ref\": \"#/$defs/d0\", \"$defs\": {\(deep), \"d20000\": {}}}"
        try await TestServer.run([try ServedModel.alphabet()]) { server in
            for form in ["\"json\": \(schema)", "\"grammar\": \"root ::= a\(String(repeating: "?", count: 100_000))\""]
            {
                let response = try await server.request(
                    "POST", "/v1/completions",
                    body: "{\"model\": \"alphabet\", \"prompt\": \"a\", \"structured_outputs\": {\(form)}}")
                #expect(response.status == 400 && response.body.utf8.count < 5000, "\(response)")
            }
        }
    }
}
