import Foundation
import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

/// Sentence encoders: their files, and what they make of hidden states.
@Suite struct TextEmbedderTests {
    private static let texts = [
        "the harbour was quiet", "a ferry came in at seven", "x", "she smiled at the old clock",
    ]

    private func embedder(_ modules: SentenceModules, context: Int = 64) throws -> TextEmbedder {
        TextEmbedder(try TestModels.tinyEncoder(contextLength: context), modules: modules)
    }

    /// Every pooling as a loop over the states says it.
    @Test(arguments: SentenceModules.Pooling.allCases) func poolings(pooling: SentenceModules.Pooling) throws {
        let embedder = try embedder(SentenceModules(poolings: [pooling], steps: []))
        let tokens: [[Int32]] = [[1, 2, 3, 4, 5], [9], [7, 7, 200, 31]]
        let states = embedder.model.base.hiddenStates(TokenBatch(tokens)).values()
        let found = embedder.vectors(of: tokens).values()
        var (expected, row): ([Float], Int) = ([], 0)
        for text in tokens {
            let n = text.count
            for column in 0..<32 {
                let values = (0..<n).map { states[(row + $0) * 32 + column] }
                let sum = values.reduce(0, +)
                let weighted = zip(1..., values).reduce(Float(0)) { $0 + Float($1.0) * $1.1 }
                switch pooling {
                case .cls: expected.append(values[0])
                case .max: expected.append(values.max() ?? .nan)
                case .mean: expected.append(sum / Float(n))
                case .meanSquareRootLength: expected.append(sum / Float(n).squareRoot())
                case .weightedMean: expected.append(weighted / Float(n * (n + 1) / 2))
                case .lastToken: expected.append(values[n - 1])
                }
            }
            row += n
        }
        expectClose(found, expected, absolute: 1e-5)
    }

    @Test func stepsFollowThePooling() throws {
        let layer = Linear(
            path: "linear", weight: Parameter("linear.weight", Deterministic.tensor("w", [5, 64])),
            bias: Parameter("linear.bias", Deterministic.tensor("b", [5])))
        let steps: [SentenceModules.Step] = [.dense(layer, .tanh), .normalize]
        let embedder = try embedder(SentenceModules(poolings: [.cls, .mean], steps: steps))
        #expect(embedder.dimensions == 5)
        let tokens: [[Int32]] = [[1, 2, 3, 4, 5], [7, 7, 200, 31]]
        let states = embedder.model.base.hiddenStates(TokenBatch(tokens)).values()
        let weights = (layer.weight.value.values(), layer.bias?.value.values() ?? [])
        var (expected, row): ([Float], Int) = ([], 0)
        for text in tokens {
            let means = (0..<32).map { column in
                (0..<text.count).reduce(Float(0)) { $0 + states[(row + $1) * 32 + column] } / Float(text.count)
            }
            let pooled = (0..<32).map { states[row * 32 + $0] } + means
            let projected = (0..<5).map { output -> Float in
                Foundation.tanh(
                    zip(pooled, weights.0[output * 64..<(output + 1) * 64]).reduce(weights.1[output]) {
                        $0 + $1.0 * $1.1
                    })
            }
            let length = projected.reduce(Float(0)) { $0 + $1 * $1 }.squareRoot()
            expected += projected.map { $0 / length }
            row += text.count
        }
        Runtime.withPrecision(.f32) { expectClose(embedder.vectors(of: tokens).values(), expected, absolute: 1e-2) }
    }

    @Test func projectionsDoNotDependOnTheNumberOfTexts() throws {
        let layer = Linear(path: "linear", weight: Parameter("linear.weight", Deterministic.tensor("w", [48, 32])))
        let embedder = try embedder(SentenceModules(poolings: [.mean], steps: [.dense(layer, nil)]))
        let texts: [[Int32]] = (0..<21).map { [Int32($0), 7, 9] }
        let together = embedder.vectors(of: texts)
        for (index, text) in texts.enumerated() {
            expectEqual(embedder.vectors(of: [text]), together.rows(index..<index + 1), "\(index)")
        }
    }

    @Test func textsDoNotDependOnTheirNeighbours() throws {
        let embedder = try embedder(SentenceModules(poolings: [.mean]))
        let together = try embedder.embed(Self.texts)
        #expect(together.vectors.shape == [4, 32] && together.truncated.isEmpty)
        #expect(together.tokenCount == Self.texts.reduce(0) { $0 + $1.utf8.count })
        for (index, text) in Self.texts.enumerated() {
            let alone = try embedder.embed([text]).vectors
            expectEqual(alone, together.vectors.rows(index..<index + 1), "\(text)")
            let length = alone.values().reduce(Float(0)) { $0 + $1 * $1 }
            #expect(abs(length - 1) < 1e-5)
        }
        #expect(try embedder.embed([]).vectors.shape == [0, 32])
    }

    @Test func longTextsAreCutOnlyOnWish() throws {
        let embedder = try embedder(SentenceModules(poolings: [.mean], maximumTokens: 9))
        let error = #expect(throws: MoruError.self) { try embedder.embed(["short", "longer than nine bytes"]) }
        #expect(error?.code == .textTooLong && error?.message.contains("text 2 has 22 tokens") == true)
        let cut = try embedder.embed(["short", "longer than nine bytes"], truncates: true)
        #expect(cut.truncated == [1] && cut.tokenCount == 14)
        try expectEqual(embedder.embed(["longer th"]).vectors, cut.vectors.rows(1..<2))
        #expect(throws: MoruError.self) { try embedder.embed([""]) }
    }

    @Test func promptsGoBeforeTexts() throws {
        var modules = SentenceModules(poolings: [.mean], prompts: ["query": "query: "])
        let plain = try embedder(modules)
        let asked = try plain.embed(["ferries"], prompt: "query").vectors.values()
        try expectEqual(asked, plain.embed(["query: ferries"]).vectors.values())
        #expect(asked != (try plain.embed(["ferries"]).vectors.values()))
        let error = #expect(throws: MoruError.self) { try plain.embed(["ferries"], prompt: "document") }
        #expect(error?.code == .promptUnknown && error?.remedy?.contains("query") == true)
        modules.defaultPrompt = "query"
        try expectEqual(asked, embedder(modules).embed(["ferries"]).vectors.values())
        // A prompt that is not pooled is read all the same
        modules.includesPrompt = false
        let tokens = Array("query: ferries".utf8).map(Int32.init)
        let without = try embedder(modules)
        try expectEqual(without.embed(["ferries"]).vectors, without.vectors(of: [tokens], skipping: 7))
    }

    @Test func savingKeepsTheModules() throws {
        let directory = TestNeeds.temporaryPath("sentences")
        defer { FileSystem.remove(directory) }
        let layer = Linear(path: "linear", weight: Parameter("linear.weight", Deterministic.tensor("w", [5, 64])))
        let modules = SentenceModules(
            poolings: [.max, .mean], steps: [.dense(layer, .tanh), .normalize], maximumTokens: 40, lowercases: true,
            prompts: ["query": "query: "], defaultPrompt: "query")
        let embedder = try embedder(modules)
        try embedder.save(to: directory)
        let loaded = try TextEmbedder.load(directory)
        #expect(loaded.isModelsOwn && loaded.maximumTokens == 40 && loaded.dimensions == 5)
        #expect(loaded.modules.lowercases && loaded.modules.defaultPrompt == "query")
        try expectEqual(loaded.embed(["The Harbour"]).vectors, embedder.embed(["the harbour"]).vectors)
    }

    @Test func wrongFilesAreNamed() throws {
        let directory = TestNeeds.temporaryPath("sentences")
        defer { FileSystem.remove(directory) }
        try embedder(SentenceModules(poolings: [.mean])).save(to: directory)
        let wrong: [(file: String, content: String, says: String)] = [
            ("1_Pooling/config.json", #"{"pooling_mode_mean_tokens": false}"#, "no pooling"),
            ("1_Pooling/config.json", #"{"pooling_mode_mean_tokens": "yes"}"#, "pooling_mode_mean_tokens"),
            ("1_Pooling/config.json", #"{"pooling_mode": "median"}"#, "pooling_mode"),
            ("modules.json", "{}", "modules.json"),
            ("modules.json", #"[{"type": "x.Transformer", "path": "../elsewhere"}]"#, "path"),
            ("modules.json", #"[{"type": "x.BoW", "path": ""}]"#, "BoW"),
            ("modules.json", #"[{"type": "x.Transformer", "path": ""}, {"type": "x.CNN", "path": "1_CNN"}]"#, "CNN"),
            ("modules.json", #"[{"type": "x.Transformer", "path": ""}]"#, "no Pooling"),
            ("sentence_bert_config.json", #"{"max_seq_length": "long"}"#, "max_seq_length"),
            ("config_sentence_transformers.json", #"{"default_prompt_name": "query"}"#, "default_prompt_name"),
        ]
        for (file, content, says) in wrong {
            let before = try FileSystem.read("\(directory)/\(file)")
            try FileSystem.write(content.utf8, to: "\(directory)/\(file)")
            let error = #expect(throws: MoruError.self) { try TextEmbedder.load(directory) }
            #expect(error?.message.contains(says) == true, "\(content): \(error?.message ?? "")")
            try FileSystem.write(before, to: "\(directory)/\(file)")
        }
    }

    @Test func aLanguageModelGivesItsLastState() throws {
        let directory = TestNeeds.temporaryPath("decoder")
        defer { FileSystem.remove(directory) }
        try TestModels.writeTinyDirectory(directory)
        let embedder = try TextEmbedder.load(directory)
        #expect(!embedder.isModelsOwn && embedder.modules.poolings == [.lastToken])
        let states = embedder.model.base.hiddenStates(TokenBatch([Array("abcdefghijkl".utf8).map(Int32.init)]))
        let last = states.rows(11..<12).values()
        let length = last.reduce(Float(0)) { $0 + $1 * $1 }.squareRoot()
        expectClose(try embedder.embed(["abcdefghijkl"]).vectors.values(), last.map { $0 / length }, absolute: 1e-5)
    }

    /// An adapter of an encoder, saved and opened again, gives the same vectors to the bit.
    @Test func aReloadedAdapterGivesTheSameVectors() throws {
        let directory = TestNeeds.temporaryPath("embedder-adapter")
        defer { FileSystem.remove(directory) }
        try embedder(SentenceModules(poolings: [.cls])).save(to: directory + "/base", dtype: nil)
        let base = try TextEmbedder.load(directory + "/base")
        let adapter = try LoRAAdapter(
            LoRAConfiguration(rank: 3, targets: ["query", "dense"]), adapting: base.model.base.linears, seed: 5)
        for pair in adapter.pairs.values { pair.b.value = Deterministic.tensor(pair.b.path, pair.b.value.shape) }
        let adapted = base.adapted(by: adapter)
        try adapter.save(to: directory + "/adapter", baseModel: directory + "/base", withModulesOf: adapted)
        let again = try TextEmbedder.load(directory + "/base", adapter: directory + "/adapter")
        #expect(again.modules.poolings == [.cls] && again.adapter != nil)
        let vectors = try again.embed(Self.texts).vectors.values()
        try expectEqual(vectors, adapted.embed(Self.texts).vectors.values())
        let plain = try base.embed(Self.texts).vectors.values()
        #expect(disagreement(plain, vectors, absolute: 0.05, relative: 0) != nil, "the adapter changes nothing")
    }
}
