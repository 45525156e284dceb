import MoruTestKit
import Testing

@testable import MoruServer

@Suite(.tags(.live)) struct TritonClientTests {
    private let files = ModelFiles()

    /// The checks of `Clients/triton_client.py`, and with KServe's client where the Python has it.
    @Test(.enabled(if: TestNeeds.pythonHas("tritonclient"), "needs MORU_TEST_PYTHON with tritonclient"))
    func tritonsClientIsServed() async throws {
        let catalog = try files.catalog([
            files.specification("tiny", try files.llama("tiny", seed: 5)),
            files.specification("bert", try files.encoder("bert")),
        ])
        _ = try await catalog.lease("tiny")
        let held = try await TestServer.run(catalog) { server in
            try await ClientPrograms.checks(of: "triton_client.py", ["127.0.0.1:\(server.port)", "tiny", "bert"])
        }
        #expect(held.count >= 9 && held.first == "health" && held[8] == "repository", "\(held)")
    }
}
