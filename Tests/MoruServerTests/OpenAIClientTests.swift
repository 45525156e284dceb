import MoruEngine
import MoruServer
import MoruTestKit
import Testing

@Suite(.tags(.live)) struct OpenAIClientTests {
    /// The checks of `Clients/openai_client.py`.
    @Test(.enabled(if: TestNeeds.python != nil, "needs MORU_TEST_PYTHON"))
    func theOfficialClientIsServed() async throws {
        let held = try await checks(
            of: "openai_client.py", with: ["tiny", "tiny-tuned"], on: try TestServer.tinyModels(contextLength: 2048))
        #expect(held.count == 17 && held.first == "models" && held.last == "abandoned_stream", "\(held)")
    }

    /// The checks of `Clients/openai_responses.py`.
    @Test(.enabled(if: TestNeeds.python != nil, "needs MORU_TEST_PYTHON"))
    func theOfficialClientGetsResponsesAndRefusals() async throws {
        var narrow = EngineConfiguration()
        (narrow.maximumSequences, narrow.maximumWaitingTokens) = (1, 64)
        let models = [
            try TestServer.tinyModels(contextLength: 2048)[0], try ServedModel.gapFiller(),
            try ServedModel.alphabet(secondsPerStep: 0.002, configuration: narrow),
        ]
        let held = try await checks(of: "openai_responses.py", with: ["tiny", "coder", "alphabet"], on: models)
        #expect(held.count == 10 && held.first == "response" && held.last == "rate_limit", "\(held)")
    }

    /// The checks of `Clients/labelling_client.py`.
    @Test(.enabled(if: TestNeeds.python != nil, "needs MORU_TEST_PYTHON"))
    func theOfficialClientIsGivenVectorsAndLabels() async throws {
        let held = try await checks(
            of: "labelling_client.py", with: ["vectors", "moods", "fit"], on: try LabellingModels().served())
        #expect(held.count == 7 && held.first == "embeddings" && held.last == "concurrent", "\(held)")
    }

    /// The names of the checks that held.
    private func checks(
        of program: String, with names: [String], on models: [ServedModel]
    ) async throws -> [Substring] {
        try await TestServer.run(models) { server in
            try await ClientPrograms.checks(of: program, ["http://127.0.0.1:\(server.port)/v1"] + names)
        }
    }
}
