import Foundation
import MoruBase
import MoruEngine
import MoruModels
import MoruServer
import MoruTestKit
import Testing

/// What clients that score texts, such as the lm-eval harness, count on.
@Suite(.tags(.live)) struct ScoringTests {
    /// A model to which every text ends at once.
    private func ending() throws -> ServedModel {
        let end = TestModels.byteTokenizerSize - 1
        let model = ScriptedModel(vocabularySize: TestModels.byteTokenizerSize, contextLength: 64) { _, _ in
            var logits = [Float](repeating: 0, count: TestModels.byteTokenizerSize)
            logits[end] = 3
            return logits
        }
        let pretrained = PretrainedModel(
            model: model, tokenizer: try TestModels.byteTokenizer(), chatTemplate: nil,
            generationDefaults: GenerationDefaults(endIDs: [Int32(end)]), path: "ending", storageDescription: "script",
            license: nil)
        return ServedModel(name: "ending", generator: try TextGenerator(pretrained))
    }

    @Test("the token after a scored text is there to be left out, even where it ends the text")
    func theEndIsScored() async throws {
        try await TestServer.run([try ending()]) { server in
            let fields: [(String, JSON)] = [
                ("model", "ending"), ("prompt", [[97, 98], [99]]), ("max_tokens", 1), ("temperature", 0),
                ("logprobs", 1), ("echo", true), ("seed", 1234),
            ]
            let response = try await server.post("/v1/completions", .object(JSONObject(fields)))
            #expect(response.status == 200, "\(response)")
            let choices = response.json["choices"]?.array ?? []
            let normalizer = log(exp(3.0) + Double(TestModels.byteTokenizerSize - 1))
            for (choice, text) in zip(choices, ["ab", "c"]) {
                let scores = choice["logprobs"]?["token_logprobs"]?.array ?? []
                #expect(choice["text"]?.string == text && choice["finish_reason"] == "stop", "\(choice)")
                #expect(scores.count == text.count + 1 && scores.first == .null)
                #expect(choice["logprobs"]?["top_logprobs"]?.array?.count == text.count + 1)
                #expect(abs((scores.last?.double ?? 0) - (3 - normalizer)) < 1e-4)
            }
            #expect(choices.count == 2)
            // An answer that was asked for ends as ever
            let answer = try await server.post(
                "/v1/completions",
                ["model": "ending", "prompt": "ab", "max_tokens": 5, "logprobs": 1, "temperature": 0])
            #expect(answer.json["choices"]?[0]?["logprobs"]?["tokens"]?.array == [], "\(answer)")
        }
    }

    @Test("clients without a tokenizer are lent the model's")
    func tokenizer() async throws {
        try await TestServer.run(try TestServer.tinyModels()) { server in
            let ids = try await server.post("/tokenize", ["prompt": "Aé", "add_special_tokens": false])
            #expect(ids.json["tokens"]?.ints == [65, 0xC3, 0xA9] && ids.json["count"] == 3, "\(ids)")
            let named = try await server.post("/tokenize", ["model": "tiny-tuned", "prompt": "A"])
            #expect(named.json["tokens"]?.ints.isEmpty == false)
            let text = try await server.post("/detokenize", ["tokens": [65, 0xC3, 0xA9]])
            #expect(text.json["prompt"] == "Aé", "\(text)")
            let info = try await server.request("GET", "/tokenizer_info")
            #expect(info.json["model"] == "tiny" && info.json["eos_token"]?.string?.isEmpty == false, "\(info)")
            // As a chat completion counts it
            let messages: JSON = [["role": "user", "content": "Hi"], ["role": "assistant", "content": "So "]]
            let chat = try await server.post(
                "/v1/chat/completions", ["model": "tiny", "messages": messages, "max_tokens": 1])
            let conversation = try await server.post("/tokenize", ["messages": messages, "return_token_strs": true])
            #expect(conversation.json["count"] == chat.json["usage"]?["prompt_tokens"], "\(conversation)")
            #expect(conversation.json["token_strs"]?.array?.count == conversation.json["count"]?.int)
            #expect(ids.json.object?["token_strs"] == .null && conversation.json["max_model_len"] == 256)
            func rendered(_ more: [(String, JSON)]) async throws -> String? {
                let body = JSON.object(JSONObject([("messages", messages)] + more))
                let tokens = try await server.post("/tokenize", body).json["tokens"] ?? .null
                return try await server.post("/detokenize", ["tokens": tokens]).json["prompt"]?.string
            }
            let (whole, open) = (try await rendered([("add_generation_prompt", false)]), try await rendered([]))
            #expect(open != whole && whole.map { open?.hasPrefix($0) == true } == true)
            let continued = try await rendered([("continue_final_message", true)])
            #expect(continued?.hasSuffix("So ") == true && continued.map { whole?.hasPrefix($0) == true } == true)
            for (field, value, param) in [
                ("continue_final_message", true, "continue_final_message"), ("chat_template", "x", "chat_template"),
                ("chat_template_kwargs", ["a": 1], "chat_template_kwargs"), ("prompt", "A", "messages"),
                ("mm_processor_kwargs", ["a": 1], "mm_processor_kwargs"), ("nothing", 1, "nothing"),
            ] as [(String, JSON, String)] {
                let body: JSON = .object(
                    JSONObject([("messages", messages), ("add_generation_prompt", true), (field, value)]))
                let response = try await server.post("/tokenize", body)
                #expect(response.status == 400 && response.errorParam == param, "\(response)")
            }
            for (path, body, param) in [
                ("/tokenize", [:], "prompt"), ("/tokenize", ["prompt": "A", "model": "big"], "model"),
                ("/tokenize", ["prompt": "A", "messages": []], "messages"),
                ("/detokenize", ["tokens": [1, 9999]], "tokens[1]"), ("/detokenize", ["tokens": "A"], "tokens"),
            ] as [(String, JSON, String)] {
                let response = try await server.post(path, body)
                #expect((400...404).contains(response.status) && response.errorParam == param, "\(response)")
            }
        }
    }
}
