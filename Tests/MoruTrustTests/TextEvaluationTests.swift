import Foundation
import MoruBase
import MoruModels
import MoruTensor
import MoruTestKit
import Testing

@testable import MoruTrust

@Suite struct TextEvaluationTests {
    private let documents = ["A first text.", "Another one, which is a little longer.", "é"]

    @Test("every token is scored once, each given what came before it in its window", arguments: [nil, 2, 5, 1000])
    func windows(length: Int?) throws {
        let pretrained = try TestModels.tinyPretrained(seed: nil)
        let (model, tokenizer) = (pretrained.model, pretrained.tokenizer)
        let start = try #require(tokenizer.beginOfSequence ?? tokenizer.endOfSequence)
        try Runtime.withPrecision(.f32) {
            let report = try TextEvaluation(pretrained, documents, windowLength: length).run()
            #expect(report.outcomes.map(\.score.tokens) == documents.map(\.utf8.count))
            var sum = 0.0
            for (outcome, text) in zip(report.outcomes, documents) {
                let tokens = [start] + tokenizer.encode(text, addSpecialTokens: false)
                var expected = 0.0
                for place in tokens.indices.dropFirst() {
                    let begin = (place - 1) / ((length ?? 4096) - 1) * ((length ?? 4096) - 1)
                    let logits = model.logits(
                        model.hiddenStates(TokenBatch([Array(tokens[begin..<place])], adapter: nil))
                    ).values().suffix(model.facts.vocabularySize).map(Double.init)
                    let top = logits.max() ?? 0
                    expected += log(logits.reduce(0) { $0 + exp($1 - top) }) + top - logits[Int(tokens[place])]
                }
                #expect(abs(outcome.score.negativeLogLikelihood - expected) < 1e-3 * expected)
                sum += outcome.score.negativeLogLikelihood
            }
            let bytes = Double(documents.reduce(0) { $0 + $1.utf8.count })
            #expect(abs((report.figure("bits_per_byte")?.value ?? 0) - sum / log(2) / bytes) < 1e-9)
            #expect(abs((report.figure("perplexity")?.value ?? 0) - exp(sum / bytes)) < 1e-6 * exp(sum / bytes))
            #expect(report.figure("perplexity")?.interval != nil)
        }
    }

    @Test func textsAreReadFromLinesAndFiles() throws {
        let folder = TestNeeds.temporaryPath("texts")
        try FileSystem.createDirectory(folder)
        defer { FileSystem.remove(folder) }
        try FileSystem.write("One.\n".utf8, to: folder + "/a.txt")
        try FileSystem.write("Two.".utf8, to: folder + "/b.md")
        #expect(try TextEvaluation.read(folder) == ["One.\n", "Two."])
        #expect(try TextEvaluation.read(folder, limit: 1).count == 1)
        try FileSystem.write(#"{"text": "Three."}"#.utf8, to: folder + "/c.jsonl")
        #expect(try TextEvaluation.read(folder + "/c.jsonl") == ["Three."])
    }
}
