import MoruBase
import MoruTestKit
import Testing

@testable import MoruText

/// The template inside the real SmolLM2 GGUF, rendered beside jinja2. Needs `MORU_TEST_PYTHON` (an interpreter with
/// jinja2, transformers and gguf) and `MORU_TEST_MODELS` (a folder that holds the model).
@Suite struct TemplateModelTests {
    @Test(
        .enabled(if: TestNeeds.python != nil && TestNeeds.smolLM2 != nil, "set MORU_TEST_PYTHON and MORU_TEST_MODELS"))
    func templateInsideGGUF() throws {
        let reference = try Goldens.json(printedBy: "templates.py", ["--gguf", try #require(TestNeeds.smolLM2)])
        let template = try ChatTemplate(try #require(reference["template"]?.string), name: "SmolLM2")
        let goldens = try TemplateGoldens.conversations.get()
        let expected = reference["expected"]?.array ?? []
        for wanted in expected {
            let item = try #require(goldens["cases"]?.array?.first { $0["name"] == wanted["case"] })
            let found = try TemplateGoldens.render(template, item, tokens: goldens["tokens"] ?? [:])
            #expect(TemplateGoldens.agrees(found, wanted), "\(wanted["case"]?.string ?? ""): \(found.text())")
        }
        #expect(expected.count >= 15)
        // What training needs of it: the assistant's ranges.
        let (text, ranges) = try template.renderConversation(messages: ChatTemplateTests.turns)
        let bytes = Array(text.utf8)
        let parts = ranges.map { String(decoding: bytes[$0], as: UTF8.self) }
        #expect(parts == ["Hallo 👋<|im_end|>\n", "No more.<|im_end|>\n"])
    }
}
