import Foundation
import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

@testable import MoruTraining

/// Sentence embeddings learnt from pairs, on tiny bases.
@Suite struct EmbeddingTuningTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    /// Fresh for each run: some methods move it.
    private func embedder(_ isEncoder: Bool, pooling: SentenceModules.Pooling? = nil) throws -> TextEmbedder {
        let model = isEncoder ? try TestModels.tinyEncoder(seed: 1) : try TestModels.tinyTrunk(seed: 1)
        return TextEmbedder(model, modules: pooling.map { SentenceModules(poolings: [$0]) })
    }

    private static let pairs = [
        ("red fox", "fast"), ("blue whale", "sea"), ("old oak", "tree"), ("grey cat", "pet"), ("late train", "rail"),
        ("hot tea", "drink"),
    ]

    private func recipe(_ overrides: [String] = [], lines: [String]? = nil) throws -> Recipe {
        let lines = lines ?? Self.pairs.map { #"{"anchor": "\#($0.0)", "positive": "\#($0.1)"}"# }
        let train = try folder.write(lines.joined(separator: "\n"), to: "pairs.jsonl")
        return try Recipe(
            yaml: """
                model: tiny
                output: \(folder.path)/run
                objective: embedding
                data: {train: \(train), validation: \(train)}
                training: {epochs: 20, batch_size: 4, learning_rate: 1e-2, save_every: 1, keep: 2, precision: f32}
                """, source: "test", overrides: overrides)
    }

    /// The loss falls, texts find theirs, a run that goes on takes the same steps, and what is saved gives the vectors
    /// of the model as it was left.
    @Test(arguments: [
        (true, ["method=lora", "lora.dropout=0.1"]), (true, ["method=full"]), (true, ["method=last_layers"]),
        (false, ["method=lora"]), (false, ["method=full"]), (false, ["method=lora", "embedding.pooling=mean"]),
        (false, ["method=ia3", "training.learning_rate=0.1"]),
        (true, ["method=prompt", "virtual_tokens.count=3", "training.learning_rate=0.1"]),
        (true, ["method=prefix", "virtual_tokens.count=3", "training.learning_rate=0.1"]),
        (false, ["method=prompt", "virtual_tokens.count=3", "training.learning_rate=0.1"]),
    ])
    func textsLearnWhichBelongTogether(isEncoder: Bool, overrides: [String]) throws {
        let recipe = try recipe(overrides)
        #expect(try Recipe(yaml: recipe.yaml, source: "written") == recipe)
        func tune(_ existing: ExistingRun) throws -> (TuningResult, [TrainingEvent], [Double]) {
            var tuning = try EmbeddingTuning(recipe, embedder: embedder(isEncoder))
            tuning.existingRun = existing
            var (events, recalls): ([TrainingEvent], [Double]) = ([], [])
            let result = try tuning.run {
                events.append($0)
                if case .validation(let validation) = $0 { recalls.append(validation.others["recall_at_1"] ?? -1) }
            }
            return (result, events, recalls)
        }
        let (result, events, recalls) = try tune(.refuse)
        #expect(try #require(result.summary.bestValidationLoss) < #require(events.losses.first))
        // With dropout, or so few parameters, so short a run does not learn the pairs by heart
        let knowsAll = ![.ia3, .prompt, .prefix].contains(recipe.method) && recipe.lora.dropout == 0
        let (first, last) = (try #require(recalls.first), try #require(recalls.last))
        #expect(knowsAll ? last == 1 : last >= first, "\(recalls)")
        let steps = result.summary.steps
        FileSystem.remove(recipe.output + "/checkpoints/step-\(String(format: "%06d", steps))")
        let (again, rest, _) = try tune(.resume)
        #expect(rest.losses == events.losses.suffix(1) && again.summary.steps == steps)

        let tuned: TextEmbedder
        if result.isAdapter {
            let base = try embedder(isEncoder)
            let modules = try #require(try SentenceModules(directory: result.directory))
            let wanted: SentenceModules.Pooling = isEncoder ? .mean : .lastToken
            #expect(modules.poolings == [recipe.embedding.pooling ?? wanted])
            let adapter = try AdapterDirectory.load(from: result.directory, for: base.model.base)
            tuned = TextEmbedder(base.model, modules: modules, adapter: adapter)
            let names = try SafetensorsFile(path: result.directory + "/adapter_model.safetensors").names
            let start = "base_model.model." + (isEncoder ? "encoder.layer." : "layers.")
            let isVirtual = adapter.virtualTokens != nil
            #expect(isVirtual ? names == ["prompt_embeddings"] : names.allSatisfy { $0.hasPrefix(start) }, "\(names)")
        } else {
            tuned = try TextEmbedder.load(result.directory)
            #expect(tuned.isModelsOwn)
        }
        guard knowsAll else { return }
        let vectors = try tuned.embed(Self.pairs.flatMap { [$0.0, $0.1] }).vectors
        let cosines = vectors.matmul(vectors.transposed()).values()
        for index in Self.pairs.indices {
            let row = Self.pairs.indices.map { cosines[2 * index * 12 + 2 * $0 + 1] }
            #expect(row.max() == row[index], "\(row)")
        }
    }

    @Test func negativesAreHeldAgainstTheirAnchorAndEqualTextsAreNot() throws {
        func example(_ texts: [[Int32]]) -> HeadExample {
            HeadExample(tokens: texts[0], target: .texts(Array(texts.dropFirst())))
        }
        let embedder = try embedder(true)
        func loss(_ examples: [HeadExample]) -> Float {
            let data = HeadDataset(source: "made up", examples: examples)
            return Runtime.withPrecision(.f32) {
                EmbeddingTask(embedder: embedder, training: data)
                    .summedLoss(of: Array(examples.indices), in: .training, dropout: nil).scalar
            }
        }
        let (one, two) = ([[1, 2], [3, 4, 5]] as [[Int32]], [[6], [7, 8]] as [[Int32]])
        #expect(loss([example(one)]) == 0, "alone there is nothing to tell it from")
        #expect(loss([example(one), example(two)]) > 0)
        #expect(loss([example(one + [[9, 10]])]) > 0)
        #expect(loss([example(one), example([two[0], one[1]])]) < 1e-6, "the same text is not a negative")
        #expect(loss([example(one + [one[1]])]) < 1e-6)
    }

    @Test func theRecallIsOverTheWholeSet() throws {
        let examples = (0..<5).map { HeadExample(tokens: [$0 + 1], target: .texts([[$0 + 1], [$0 + 20]])) }
        let apart = HeadDataset(source: "made up", examples: examples)
        let task = EmbeddingTask(embedder: try embedder(true), training: apart, validation: apart)
        var total = TaskMeasurement(loss: 0)
        for batch in [[0, 1], [2, 3], [4]] { total.loss += task.measure(batch, in: .validation).loss }
        #expect(task.figures(of: total, targets: 5) == ["recall_at_1": 1], "each is its own nearest")
        // Another pair's text is the anchor's own
        let wrong = examples.indices.map { index in
            HeadExample(tokens: examples[index].tokens, target: .texts([examples[(index + 1) % 5].tokens]))
        }
        let data = HeadDataset(source: "made up", examples: wrong)
        let other = EmbeddingTask(embedder: try embedder(true), training: data, validation: data)
        for batch in [[0, 1], [2, 3], [4]] { _ = other.measure(batch, in: .validation) }
        #expect(other.figures(of: total, targets: 5) == ["recall_at_1": 0])
    }

    @Test func whatCannotBeLearntNamesTheRemedy() throws {
        func run(_ overrides: [String] = [], line: String? = nil, pooling: SentenceModules.Pooling? = nil) throws {
            let good = Self.pairs.map { #"{"anchor": "\#($0.0)", "positive": "\#($0.1)"}"# }
            let recipe = try recipe(overrides, lines: good + (line.map { [$0] } ?? []))
            _ = try EmbeddingTuning(recipe, embedder: embedder(true, pooling: pooling)).run()
        }
        expectError(.recipeValue, "gradient_accumulation is 2") { try run(["training.gradient_accumulation=2"]) }
        expectError(.recipeValue, "training.batch_size is 1") { try run(["training.batch_size=1"]) }
        expectError(.recipeValue, "embedding.pooling is cls") { try run(["embedding.pooling=cls"], pooling: .mean) }
        expectError(.recipeValue, "the method is head") { try run(["method=head"]) }
        expectError(.dataMalformed, "pairs.jsonl, line 7: positive is missing") { try run(line: #"{"anchor": "x"}"#) }
        expectError(.dataMalformed, "line 7: negative is an integer") {
            try run(line: #"{"anchor": "x", "positive": "y", "negative": 3}"#)
        }
        expectError(.dataMalformed, "line 7: negative holds something else") {
            try run(line: #"{"anchor": "x", "positive": "y", "negative": ["a", 3]}"#)
        }
        expectError(.dataTooLong, "line 7: the text has") {
            try run(line: #"{"anchor": "x", "positive": "\#(String(repeating: "y", count: 70))"}"#)
        }
    }

    /// The loss and its gradients as PyTorch has them, and as differences give them.
    @Test(.tags(.golden), arguments: [0, 1, 2]) func theLossMatchesTorch(index: Int) throws {
        let golden = try Goldens.json("embeddings.json", beside: #filePath.replacing("/Heads/", with: "/"))
        let expected = try #require(golden[index])
        let shape = try #require(expected["shape"]?.array).compactMap(\.int)
        let anchors = Tensor(expected["anchors"]?.floats ?? [], shape: [shape[0], shape[2]])
        let candidates = Tensor(expected["candidates"]?.floats ?? [], shape: [shape[1], shape[2]])
        let scale = Float(expected["scale"]?.double ?? 0)
        func loss(_ inputs: [Tensor]) -> Tensor {
            EmbeddingTask.loss(anchors: inputs[0], candidates: inputs[1], scale: scale)
        }
        let (value, gradients) = Runtime.withPrecision(.f32) { valueAndGradients(at: [anchors, candidates], loss) }
        expectClose([value.scalar], [Float(expected["loss"]?.double ?? 0)], absolute: 0, relative: 1e-5, "loss")
        for (position, gradient) in gradients.enumerated() {
            let wanted = expected["gradients"]?[position]?.floats ?? []
            expectClose(gradient.values(), wanted, absolute: 2e-5, relative: 1e-4, "gradient \(position)")
        }
        expectGradients(at: [anchors, candidates], step: 1e-3, absolute: 2e-2) { loss($0) }
    }

    /// The squared error of cosines and its gradients as PyTorch has them.
    @Test(.tags(.golden), arguments: [3, 4]) func theLossOfScoresMatchesTorch(index: Int) throws {
        let golden = try Goldens.json("embeddings.json", beside: #filePath.replacing("/Heads/", with: "/"))
        let expected = try #require(golden[index])
        let shape = try #require(expected["shape"]?.ints)
        let inputs = ["first", "second"].map { Tensor(expected[$0]?.floats ?? [], shape: shape) }
        let (value, gradients) = Runtime.withPrecision(.f32) {
            valueAndGradients(at: inputs) {
                SimilarityTask.loss(of: SimilarityTask.cosines($0[0], $0[1]), expected["scores"]?.floats ?? [])
            }
        }
        expectClose([value.scalar], [Float(expected["loss"]?.double ?? 0)], absolute: 0, relative: 1e-5, "loss")
        for (position, gradient) in gradients.enumerated() {
            let wanted = expected["gradients"]?[position]?.floats ?? []
            expectClose(gradient.values(), wanted, absolute: 2e-5, relative: 1e-4, "gradient \(position)")
        }
    }

    @Test(arguments: [(true, "lora"), (false, "full")]) func cosinesLearnScores(
        isEncoder: Bool, method: String
    ) throws {
        let scores = [0.9, 0.1, 0.5, -0.3]
        let lines = zip(Self.pairs, scores).map {
            #"{"text_a": "\#($0.0)", "text_b": "\#($0.1)", "score": \#($1)}"#
        }
        // Pairs are independent, so that batches may be summed up
        let recipe = try recipe(
            ["method=\(method)", "training.batch_size=2", "training.gradient_accumulation=2", "training.epochs=40"],
            lines: lines)
        var figures: [[String: Double]] = []
        let result = try EmbeddingTuning(recipe, embedder: embedder(isEncoder)).run {
            if case .validation(let validation) = $0 { figures.append(validation.others) }
        }
        #expect(try #require(result.summary.bestValidationLoss) < 0.02)
        #expect(
            try #require(figures.last?["pearson"]) > 0.9 && figures.last?["spearman"] == 1, "\(figures.last ?? [:])")
    }

    @Test func scoresAreChecked() throws {
        func run(_ line: String) throws {
            let recipe = try recipe(lines: [#"{"text_a": "a", "text_b": "b", "score": 0.5}"#, line])
            _ = try EmbeddingTuning(recipe, embedder: embedder(true)).run()
        }
        expectError(.dataMalformed, "line 2: score is 4.5", "divide ratings") {
            try run(#"{"text_a": "a", "text_b": "b", "score": 4.5}"#)
        }
        expectError(.dataMalformed, "text_b is missing") { try run(#"{"text_a": "a", "score": 1}"#) }
        expectError(.dataMalformed, "2 of 4 records have a score") {
            try run(#"{"anchor": "a", "positive": "b"}"#)
        }
    }

    @Test func correlationsByHand() throws {
        let (x, y) = ([1.0, 2, 3, 4], [1.5, 2, 2, 5])
        #expect(abs(try #require(Correlation.pearson(x, y)) - 5.25 / (5 * 7.6875).squareRoot()) < 1e-12)
        // The ranks of y are 0, 1.5, 1.5, 3
        #expect(abs(try #require(Correlation.spearman(x, y)) - 4.5 / (5 * 4.5).squareRoot()) < 1e-12)
        #expect(Correlation.pearson(x, [2, 2, 2, 2]) == nil)
    }
}
