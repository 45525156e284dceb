import MoruBase
import MoruEngine
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import MoruText
import MoruTraining
import MoruTrust
import Testing

/// What the tests of evaluation share.
enum TrustFixtures {
    /// The bytes between the lengths of one scripted prompt and the next; an answer and its end must fit.
    static let stride = 40

    /// A model with a fixed answer for each of ``prompt(_:)``: where a prompt ends tells which it was.
    static func scripted(
        _ answers: [String], contextLength: Int = 1024, chatTemplate: ChatTemplate? = nil
    ) throws -> TextGenerator {
        let tokenizer = try TestModels.byteTokenizer()
        let end = try #require(tokenizer.endOfSequence)
        let bytes = answers.map { $0.utf8.map { Int32($0) } }
        try #require(bytes.allSatisfy { $0.count < stride })
        let model = ScriptedModel(
            vocabularySize: TestModels.byteTokenizerSize, contextLength: contextLength
        ) { _, position in
            let (number, offset) = (position + 1).quotientAndRemainder(dividingBy: stride)
            guard number > 0, number <= bytes.count else { return end }
            return offset < bytes[number - 1].count ? bytes[number - 1][offset] : end
        }
        return try TextGenerator(
            PretrainedModel(
                model: model, tokenizer: tokenizer, chatTemplate: chatTemplate,
                generationDefaults: GenerationDefaults(endIDs: [end]), path: "scripted",
                storageDescription: "scripted", license: nil))
    }

    /// The prompt of the answer with a number.
    static func prompt(_ index: Int) -> String {
        String(repeating: "q", count: (index + 1) * stride - 1) + "?"
    }

    /// Examples of scripted prompts with the given right answers.
    static func examples(_ references: [String]) throws -> [EvaluationExample] {
        try references.enumerated().map { index, reference in
            try EvaluationExample(
                .completion(prompt: prompt(index), completion: reference), place: "scripted.jsonl:\(index + 1)")
        }
    }

    /// An adapter whose B is not zero, so that it changes the output.
    static func adapter(for model: any LanguageModel) throws -> LoRAAdapter {
        let fresh = try LoRAAdapter(
            LoRAConfiguration(rank: 2, alpha: 8, targets: ["q_proj", "down_proj"]), adapting: model.linears, seed: 3)
        let pairs = fresh.pairs.mapValues { pair in
            let b = Parameter(pair.b.path, Deterministic.tensor(pair.b.path, pair.b.value.shape))
            return LoRAPair(a: pair.a, b: b, scale: pair.scale)
        }
        return LoRAAdapter(configuration: fresh.configuration, pairs: pairs)
    }
}
