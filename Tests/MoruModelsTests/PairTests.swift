import Foundation
import MoruBase
import MoruModels
import MoruTensor
import MoruTestKit
import MoruText
import Testing

/// Pairs of texts as tokenizers and cross-encoders of transformers read them.
@Suite(.tags(.golden), .enabled(if: TestNeeds.python != nil)) struct PairTests {
    private struct Written: Sendable {
        let directory: String
        let answers: JSON
        var pairs: [(String, String)] {
            (answers["pairs"]?.array ?? []).map { ($0[0]?.string ?? "", $0[1]?.string ?? "") }
        }
    }

    private static let written = Result {
        let directory = TestNeeds.temporaryPath("pairs")
        RemovedAtExit.append(directory)
        return Written(
            directory: directory, answers: try Goldens.json(printedBy: "pairs.py", [directory]))
    }

    static let models = [
        "bert", "bert-processing", "bert-one-type", "bert-no-template", "roberta", "xlm-roberta", "distilbert", "llama",
    ]

    @Test(arguments: models) func crossEncodersOfTransformersGiveTheSame(name: String) throws {
        let written = try Self.written.get()
        let model = try HeadedModel.load("\(written.directory)/\(name)")
        #expect(model.scoresPairs)
        let goldens = try #require(written.answers["models"]?[name]?.array)
        try Runtime.withPrecision(.f32) {
            let scores = try model.score(written.pairs)
            for (index, (pair, golden)) in zip(written.pairs, goldens).enumerated() {
                let tokens = try model.tokenizer.encodePair(pair.0, pair.1)
                #expect(tokens.ids.map(Int.init) == golden["ids"]?.ints, "\(pair)")
                #expect(tokens.types.map(Int.init) == golden["types"]?.ints, "\(pair)")
                let cut = try model.tokenizer.encodePair(pair.0, pair.1, limit: 11)
                #expect(cut.ids.map(Int.init) == golden["cut"]?.ints, "\(pair)")
                #expect(cut.types.count == cut.ids.count)
                let read = try model.tokens(of: pair.0, pair.1)
                expectClose(model.logits(of: [read])[0].values(), golden["logit"]?.floats ?? [], absolute: 1e-4)
                expectClose([scores[index]], golden["score"]?.floats ?? [], absolute: 1e-5)
            }
        }
        let kinds = try model.tokens(of: "when", "again").types
        #expect(kinds.contains(1) == ["bert", "bert-processing", "bert-no-template"].contains(name))
    }

    @Test func aPairInCompanyIsThePairAlone() throws {
        let written = try Self.written.get()
        let model = try HeadedModel.load("\(written.directory)/bert")
        let together = try model.score(written.pairs)
        for (pair, score) in zip(written.pairs, together) { #expect(try model.score([pair]) == [score], "\(pair)") }
    }

    @Test func whatScoresIsSaidByTheConfiguration() throws {
        let scratch = try Scratch()
        let written = try Self.written.get()
        let source = "\(written.directory)/bert"
        let pair = [("when does the ferry leave", "at seven")]
        let plain = try HeadedModel.load(source).score(pair)[0]
        var config = try #require(try JSON.parse(file: source + "/config.json").object)
        for name in try FileSystem.list(source) where name != "config.json" {
            try FileSystem.write(try FileSystem.read("\(source)/\(name)"), to: "\(scratch.path)/\(name)")
        }
        func load() throws -> HeadedModel {
            try FileSystem.write(JSON.object(config).text().utf8, to: scratch.path + "/config.json")
            return try HeadedModel.load(scratch.path)
        }
        config["sentence_transformers"] = ["activation_fn": "torch.nn.modules.linear.Identity"]
        let raw = try load().score(pair)[0]
        expectClose([1 / (1 + exp(-raw))], [plain], absolute: 1e-6)
        #expect(abs(raw - plain) > 0.01)
        config["sentence_transformers"] = nil
        config["sbert_ce_default_activation_function"] = "torch.nn.modules.activation.Sigmoid"
        #expect(try load().score(pair) == [plain])
        config["sbert_ce_default_activation_function"] = "torch.nn.modules.activation.Tanh"
        let error = #expect(throws: MoruError.self) { try load().score(pair) }
        #expect(error?.code == .modelUnsupported && error?.message.contains("Tanh") == true)
    }

    @Test func tooLongPairsAreCutOnlyOnWish() throws {
        let written = try Self.written.get()
        let model = try HeadedModel.load("\(written.directory)/bert")
        let long = ("the ferry", String(repeating: "again ", count: 80))
        let error = #expect(throws: MoruError.self) { try model.score([("a", "b"), long]) }
        #expect(error?.code == .textTooLong && error?.message.contains("pair 2 has 85 tokens") == true)
        let kept = ("the ferry", String(repeating: "again ", count: 59))
        #expect(try model.score([long], truncates: true) == (try model.score([kept])))
    }
}
