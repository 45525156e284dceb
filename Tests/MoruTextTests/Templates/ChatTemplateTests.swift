import MoruBase
import Testing

@testable import MoruText

@Suite struct ChatTemplateTests {
    @Test func chatML() throws {
        let messages = [ChatMessage(role: "user", content: "Hi")]
        let text = try ChatTemplate.chatML.render(messages: messages, addGenerationPrompt: true)
        #expect(text == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    }
}
