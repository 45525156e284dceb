import MoruBase
import MoruEngine
import MoruModels
import MoruServer
import MoruTestKit
import MoruText

extension ServedModel {
    /// A model that fills gaps: whatever stands around one, it writes "xy" and ends it.
    ///
    /// - Throws: What building a model throws.
    static func gapFiller(name: String = "coder") throws -> ServedModel {
        let marks = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|fim_pad|>"]
        var json = TestModels.byteTokenizerJSON.object ?? JSONObject()
        let added = marks.enumerated().map { place, mark -> JSON in
            [
                "id": .int(TestModels.byteTokenizerSize + place), "content": .string(mark), "single_word": false,
                "lstrip": false, "rstrip": false, "normalized": false, "special": true,
            ]
        }
        json["added_tokens"] = .array((json["added_tokens"]?.array ?? []) + added)
        let begin = TestModels.byteTokenizerSize
        let model = ScriptedModel(vocabularySize: begin + marks.count) { token, _ in
            switch Int(token) {
            case begin + 2: 120
            case 120: 121
            case 121: Int32(begin + 3)
            default: 122
            }
        }
        let pretrained = PretrainedModel(
            model: model, tokenizer: try Tokenizer(json: .object(json), source: "coder"), chatTemplate: nil,
            generationDefaults: GenerationDefaults(endIDs: [258]), path: name, storageDescription: "script",
            license: nil)
        return ServedModel(name: name, generator: try TextGenerator(pretrained))
    }
}
