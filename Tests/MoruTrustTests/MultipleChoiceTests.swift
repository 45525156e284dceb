import Foundation
import MoruBase
import MoruEngine
import MoruModels
import MoruTestKit
import MoruTrust
import Testing

@Suite("Multiple choice")
struct MultipleChoiceTests {
    private func example(_ record: JSON) throws -> MultipleChoiceExample {
        try MultipleChoiceExample(record, place: "q.jsonl, line 1")
    }

    @Test("the answer is a place, a letter or a text")
    func answers() throws {
        for answer: JSON in [1, "B", "blue"] {
            let read = try example(["question": "Sky?", "choices": ["red", "blue"], "answer": answer])
            #expect(read.answer == 1 && read.choices == ["red", "blue"] && read.context == "Sky?")
        }
    }

    @Test(
        "a question that cannot be asked names its place and field",
        arguments: [
            (["choices": ["a", "b"], "answer": 0], "question"), (["question": "q", "answer": 0], "choices"),
            (["question": "q", "choices": ["a"], "answer": 0], "choices"),
            (["question": "q", "choices": ["a", 1], "answer": 0], "choices"),
            (["question": "q", "choices": ["a", "b"], "answer": 2], "answer"),
            (["question": "q", "choices": ["a", "b"], "answer": "C"], "answer"),
            (["question": "q", "choices": ["a", "b"]], "answer"),
        ] as [(JSON, String)])
    func malformed(record: JSON, field: String) throws {
        let error = try #require(throws: MoruError.self) { try example(record) }
        #expect(error.code == .evaluationData && error.message.contains("q.jsonl, line 1"))
        #expect("\(error.message) \(error.remedy ?? "")".contains(field))
    }

    /// A byte model to which the letter "a" is likely, the letter "b" a little less, and every other byte unlikely.
    private func generator() throws -> TextGenerator {
        let tokenizer = try TestModels.byteTokenizer()
        let model = ScriptedModel(vocabularySize: TestModels.byteTokenizerSize, contextLength: 64) { _, _ in
            var logits = [Float](repeating: 0, count: TestModels.byteTokenizerSize)
            logits[Int(UInt8(ascii: "a"))] = 9
            logits[Int(UInt8(ascii: "b"))] = 8
            return logits
        }
        return try TextGenerator(
            PretrainedModel(
                model: model, tokenizer: tokenizer, chatTemplate: nil,
                generationDefaults: GenerationDefaults(endIDs: []), path: "scripted", storageDescription: "scripted",
                license: nil))
    }

    @Test("log-probabilities are those of the model, with and without regard to length")
    func scores() async throws {
        let examples = try [
            example(["question": "q", "choices": ["b", "aaaa"], "answer": 0]),
            example(["question": "q", "choices": ["b", "aaaa"], "answer": "B"]),
        ]
        let report = try await MultipleChoice(try generator(), examples).run()
        // Logits are 9, 8 and 0 for the other bytes; each answer begins with a space
        let normalizer = log(exp(9.0) + exp(8.0) + Double(TestModels.byteTokenizerSize - 2))
        let expected = [8 - 2 * normalizer, 4 * 9 - 5 * normalizer]
        for outcome in report.outcomes {
            #expect(zip(outcome.logLikelihoods, expected).allSatisfy { abs($0 - $1) < 1e-3 })
            #expect(outcome.likeliest == 0 && outcome.likeliestForLength == 1)
        }
        #expect(report.accuracy == 0.5 && report.accuracyForLength == 0.5)
        let confidence = 1 / (1 + exp(expected[1] - expected[0]))
        #expect(abs(report.outcomes[0].confidence - confidence) < 1e-3)
        // One right and one wrong at the same confidence
        let calibration = try #require(report.calibration)
        #expect(abs(calibration.expectedError - abs(confidence - 0.5)) < 1e-3)
        #expect(report.json(includingOutcomes: true)["outcomes"]?.array?.count == 2)
    }

    @Test("a question longer than the context is named")
    func tooLong() async throws {
        let long = try example([
            "question": .string(String(repeating: "q", count: 80)), "choices": ["a", "b"], "answer": 0,
        ])
        let choice = MultipleChoice(try generator(), [long])
        let error = try await #require(throws: MoruError.self) { try await choice.run() }
        #expect(error.code == .dataTooLong && error.message.contains("q.jsonl, line 1"))
    }
}
