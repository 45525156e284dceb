import Dispatch
import Foundation
import MoruBase
import MoruTestKit
import Testing

@Suite(.tags(.live)) struct OpenAIClientTests {
    /// The checks of `Clients/openai_client.py`.
    @Test(.enabled(if: TestNeeds.python != nil, "needs MORU_TEST_PYTHON"))
    func theOfficialClientIsServed() async throws {
        let path = (#filePath as NSString).deletingLastPathComponent + "/Clients/openai_client.py"
        let program = try FileSystem.readText(path)
        let printed = try await TestServer.run(try TestServer.tinyModels(contextLength: 2048)) { server in
            try await inBackground {
                try TestNeeds.runPython(
                    program, arguments: ["http://127.0.0.1:\(server.port)/v1", "tiny", "tiny-tuned"])
            }
        }
        let held = printed.split(separator: "\n")
        #expect(held.count == 17 && held.first == "models" && held.last == "abandoned_stream", "\(printed)")
    }
}

/// Runs blocking work beside the threads that serve.
func inBackground<Result: Sendable>(_ work: @escaping @Sendable () throws -> Result) async throws -> Result {
    try await withCheckedThrowingContinuation { continuation in
        DispatchQueue.global().async { continuation.resume(with: Swift.Result { try work() }) }
    }
}
