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
        (#""prompt": "Hi", "suffix": "x""#, "suffix", "unsupported_parameter"),
        (#""prompt": "Hi", "best_of": 2"#, "best_of", "unsupported_parameter"),
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
