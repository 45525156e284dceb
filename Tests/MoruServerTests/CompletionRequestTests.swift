import MoruBase
import Testing

@testable import MoruServer

private func request(_ fields: String) throws -> CompletionRequest {
    try CompletionRequest(JSON.parse("{\"model\": \"m\", \(fields)}", source: "test"))
}

@Suite struct CompletionRequestTests {
    @Test(arguments: [
        (#""prompt": "Hi""#, [TextInput.text("Hi")], ["prompt"]),
        (#""prompt": ["Hi", ""]"#, [.text("Hi"), .text("")], ["prompt[0]", "prompt[1]"]),
        (#""prompt": [1, 2]"#, [.tokens([1, 2])], ["prompt"]),
        (#""prompt": [[1, 2], [3]]"#, [.tokens([1, 2]), .tokens([3])], ["prompt[0]", "prompt[1]"]),
    ])
    func readsPrompts(fields: String, prompts: [TextInput], names: [String]) throws {
        let request = try request(fields)
        #expect(request.prompts == prompts)
        #expect(request.promptNames == names)
    }

    @Test func readsWhatComesAfterAndHowManyToChooseFrom() throws {
        let request = try request(#""prompt": "Hi", "suffix": "!", "best_of": 5, "n": 2"#)
        #expect(request.suffix == "!" && request.bestOf == 5)
        #expect(try MoruServerTests.request(#""prompt": "Hi", "suffix": "", "n": 3"#).suffix == nil)
        #expect(try MoruServerTests.request(#""prompt": "Hi", "n": 3"#).bestOf == 3)
        #expect(try MoruServerTests.request(#""prompt": "Hi", "best_of": 1, "stream": true"#).bestOf == 1)
    }

    @Test func readsItsFields() throws {
        let request = try request(#""prompt": "Hi", "echo": true, "max_tokens": 0, "logprobs": 5, "user": "u""#)
        #expect(request.fields.echo && request.maximumTokens == 0 && request.logProbabilities == 5)
        #expect(try MoruServerTests.request(#""prompt": "Hi""#).maximumTokens == 16)
    }

    @Test(arguments: [
        (#""echo": true"#, "prompt", "missing_required_parameter"),
        (#""prompt": []"#, "prompt", "invalid_value"),
        (#""prompt": 5"#, "prompt", "invalid_type"),
        (#""prompt": [true]"#, "prompt[0]", "invalid_type"),
        (#""prompt": ["a", 1]"#, "prompt[1]", "invalid_type"),
        (#""prompt": [1, "a"]"#, "prompt[1]", "invalid_type"),
        (#""prompt": [1, -1]"#, "prompt[1]", "invalid_value"),
        (#""prompt": [1, 99999999999]"#, "prompt[1]", "invalid_value"),
        (#""prompt": [[1], []]"#, "prompt[1]", "invalid_value"),
        (#""prompt": [[1], [2.5]]"#, "prompt[1][0]", "invalid_type"),
        (#""prompt": "Hi", "suffix": "x", "echo": true"#, "echo", "invalid_value"),
        (#""prompt": "Hi", "suffix": 1"#, "suffix", "invalid_type"),
        (#""prompt": "Hi", "best_of": 2, "n": 3"#, "best_of", "invalid_value"),
        (#""prompt": "Hi", "best_of": 2, "stream": true"#, "best_of", "invalid_value"),
        (#""prompt": ["a", "b"], "best_of": 65"#, "best_of", "invalid_value"),
        (#""prompt": "Hi", "max_tokens": 0"#, "max_tokens", "invalid_value"),
        (#""prompt": "Hi", "max_tokens": -1"#, "max_tokens", "invalid_value"),
        (#""prompt": "Hi", "logprobs": true"#, "logprobs", "invalid_type"),
        (#""prompt": "Hi", "logprobs": 21"#, "logprobs", "invalid_value"),
        (#""prompt": "Hi", "messages": []"#, "messages", "unknown_parameter"),
        (#""prompt": ["a", "b", "c"], "n": 43"#, "n", "invalid_value"),
    ])
    func refusesByName(fields: String, param: String, code: String) throws {
        let error = try #require(throws: APIError.self) { try request(fields) }
        #expect(error.param == param)
        #expect(error.code == code)
    }
}
