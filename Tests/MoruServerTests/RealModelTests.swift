import MoruBase
import MoruEngine
import MoruModels
import MoruServer
import MoruTestKit
import Testing

@Suite(.tags(.live, .slow)) struct RealModelTests {
    @Test(.enabled(if: TestNeeds.smolLM2 != nil, "needs MORU_TEST_MODELS"))
    func smolLM2Answers() async throws {
        let path = try #require(TestNeeds.smolLM2)
        let model = ServedModel(name: "smollm2", generator: try TextGenerator(PretrainedModel.load(path)))
        try await TestServer.run([model]) { server in
            let chat = try await server.post(
                "/v1/chat/completions",
                [
                    "model": "smollm2", "temperature": 0, "max_tokens": 24,
                    "messages": [["role": "user", "content": "What is the capital of France?"]],
                ])
            let answer = chat.json["choices"]?[0]?["message"]?["content"]?.string ?? ""
            #expect(answer.contains("Paris"), "\(chat.body)")
            let completion = try await server.post(
                "/v1/completions",
                ["model": "smollm2", "prompt": "One, two, three,", "temperature": 0, "max_tokens": 4, "echo": true])
            let text = completion.json["choices"]?[0]?["text"]?.string ?? ""
            #expect(text.hasPrefix("One, two, three, four"), "\(completion.body)")
        }
    }
}
