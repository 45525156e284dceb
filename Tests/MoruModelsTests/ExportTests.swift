import MoruBase
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

@testable import MoruModels

/// GGUF files that Moru writes, read here, by transformers and by the gguf package.
@Suite(.tags(.golden), .enabled(if: TestNeeds.python != nil)) struct ExportTests {
    @Test func transformersComputesWithThemWhatMoruDoes() throws {
        let written = try Interoperation.written()
        let scratch = try Scratch()
        let source = try PretrainedModel.load(written.path("models", "llama"))
        var (plan, expected, plans): (JSONObject, [String: [[Float]]], [String: GGUFExport]) = (JSONObject(), [:], [:])
        let choices: [StorageTypes] = [
            .original, .uniform(.bf16), .uniform(.q8_0), .uniform(.q4_0), .uniform(.q4_1),
            .mixture(.q4_K, isMedium: true),
        ]
        for types in choices {
            let key = types.name
            let export = try GGUFExport(source, types: types)
            let path = "\(scratch.path)/\(key)/model.gguf"
            var steps: [Int] = []
            try FileSystem.createDirectory("\(scratch.path)/\(key)")
            try export.write(to: path) { steps.append($0) }
            #expect(steps == Array(0...export.tensors.count))
            (plan[key], plans[key]) = (.string(path), export)
            let again = try PretrainedModel.load(path)
            expected[key] = Interoperation.logits(again.model, written)
            #expect(try again.prompt(for: written.messages).text == source.prompt(for: written.messages).text)
            #expect(again.generationDefaults.endIDs == source.generationDefaults.endIDs)
        }
        #expect(expected["original"] == Interoperation.logits(source.model, written))
        try FileSystem.write(JSON.object(plan).text().utf8, to: scratch.path + "/plan.json")
        let answers = try Interoperation.run(["check-ggufs", scratch.path + "/plan.json"])
        let texts = written.answers["texts"]?.array?.compactMap(\.string) ?? []
        for (key, logits) in expected {
            let answer = try #require(answers[key])
            Interoperation.expectAgreement(answer["logits"]?.array?.map(\.floats) ?? [], logits, key)
            for (text, ids) in zip(texts, answer["texts"]?.array ?? []) {
                let own = source.tokenizer.encode(text, addSpecialTokens: false)
                #expect(ids.ints.map { Int32($0) } == own, "\(key): \(text)")
            }
            #expect(answer["prompt"]?.string == (try source.prompt(for: written.messages).text))
            // What the gguf package finds in the file is what was planned, and holds what Moru reads
            for tensor in plans[key]?.tensors ?? [] {
                #expect(answer["types"]?[tensor.name]?.string == tensor.dtype.ggufName, "\(key): \(tensor.name)")
            }
            let file = try GGUFFile(path: "\(scratch.path)/\(key)/model.gguf")
            for name in file.names {
                let squares = Float(try file.tensor(name).converted(to: .f32).sumOfSquares())
                expectClose([squares], [Float(answer["squares"]?[name]?.double ?? -1)], "\(key): \(name)")
            }
        }
    }

    @Test(arguments: ["llama3", "qwen3", "gpt2", "mixtral", "qwen3_moe", "gemma2", "gemma3", "phi3", "phi4-mini"])
    func everyArchitectureKeepsItsNumbers(name: String) throws {
        let written = try Interoperation.written()
        let scratch = try Scratch()
        let source = try PretrainedModel.load(written.path(name == "gpt2" ? "adapters" : "models", name))
        try GGUFExport(source, types: .original).write(to: scratch.path + "/model.gguf")
        if name == "gpt2" {
            // Written for others: Moru does not read it yet
            let file = try GGUFFile(path: scratch.path + "/model.gguf")
            let linear = try #require(source.model.linears.first { $0.path.hasSuffix("h.1.mlp.c_fc") })
            try expectEqual(file.tensor("blk.1.ffn_up.weight"), linear.weight.value)
            #expect(file.names.count == source.model.parameters.count)
            return
        }
        let again = try PretrainedModel.load(scratch.path + "/model.gguf")
        let (found, expected) = (
            Interoperation.logits(again.model, written), Interoperation.logits(source.model, written)
        )
        // Gemma's norms are stored with 1 more, and LongRoPE's factors in f32, which rounds
        if name.hasPrefix("gemma") || name == "phi4-mini" {
            for (a, b) in zip(found, expected) { expectClose(a, b, absolute: 1e-5, relative: 1e-5, name) }
        } else {
            #expect(found == expected)
        }
        #expect(again.model.facts.contextLength == source.model.facts.contextLength)
    }

    @Test(arguments: ["mixtral", "qwen3_moe", "gemma2", "gemma3", "phi3", "phi4-mini"])
    func quantisedParametersAreReadBackInPlace(name: String) throws {
        let written = try Interoperation.written()
        let scratch = try Scratch()
        let source = try PretrainedModel.load(written.path("models", name))
        try GGUFExport(source, types: .uniform(.q8_0)).write(to: scratch.path + "/model.gguf")
        let again = try PretrainedModel.load(scratch.path + "/model.gguf")
        #expect(again.storageDescription == "GGUF Q8_0")
        #expect(again.model.parameters.map(\.path) == source.model.parameters.map(\.path))
        for (a, b) in zip(again.model.parameters, source.model.parameters) {
            let (found, expected) = (a.value.converted(to: .f32), b.value.converted(to: .f32))
            // Half a step of 8 bits, of the largest element, and what the search for better scales moves
            let step = (expected.values().map(abs).max() ?? 0) / 127
            expectClose(found, expected, absolute: a.value.dtype.isQuantized ? 0.75 * step : 1e-6, "\(name): \(a.path)")
        }
    }

    @Test(arguments: ["llama-q8_0", "llama3-f16"]) func denseFilesAreMadeOfAnyFormat(name: String) throws {
        let written = try Interoperation.written()
        let scratch = try Scratch()
        let source = try PretrainedModel.load(written.path("ggufs", name + ".gguf"))
        for dtype in [DType.f32, .bf16, .f16] {
            try GGUFExport(source, types: .uniform(dtype)).write(to: scratch.path + "/model.gguf")
            let file = try GGUFFile(path: scratch.path + "/model.gguf")
            #expect(file.info("blk.1.ffn_up.weight")?.dtype == dtype)
            let again = try PretrainedModel.load(scratch.path + "/model.gguf")
            for (a, b) in zip(again.model.parameters, source.model.parameters) {
                // The formats keep 24, 8 and 11 bits
                let precision: Float = dtype == .f32 ? 0 : dtype == .bf16 ? 1.0 / 256 : 1.0 / 2048
                expectClose(
                    a.value.converted(to: .f32), b.value.converted(to: .f32), absolute: 1e-7, relative: precision,
                    "\(name) as \(dtype): \(a.path)")
            }
        }
    }

    @Test func importanceMatricesOfExpertsHaveARowForEach() throws {
        let written = try Interoperation.written()
        let scratch = try Scratch()
        let model = try PretrainedModel.load(written.path("models", "mixtral"))
        let export = try GGUFExport(model, types: .uniform(.q4_0))
        let found = try Calibration(of: model.model, on: [(0..<64).map { ($0 * 37 + 11) % 384 }])
        try found.write(to: scratch.path + "/imatrix.gguf", for: export, texts: "text", windowTokens: 64)
        let file = try GGUFFile(path: scratch.path + "/imatrix.gguf")
        #expect(file.info("blk.0.ffn_gate_exps.weight.in_sum2")?.shape == [4, 64])
        #expect(file.info("blk.0.ffn_down_exps.weight.counts")?.shape == [4, 1])
        let again = try Calibration(file: scratch.path + "/imatrix.gguf", for: export)
        #expect(Set(again.means.keys) == Set(found.means.keys))
        for (path, means) in found.means { expectClose(again.means[path] ?? [], means, relative: 1e-5, path) }
    }

    @Test func aFileWrittenAgainHoldsTheSameBytes() throws {
        let written = try Interoperation.written()
        let scratch = try Scratch()
        for name in [
            "llama-q8_0", "qwen2-q4_0", "llama3-f16", "llama-sentencepiece", "granite-f16", "smollm3-q8_0",
            "olmo2-f32", "gptneox-q8_0", "mixtral-q8_0", "mixtral-f32", "qwen3moe-q4_0", "gemma2-f16", "gemma3-q8_0",
            "phi3-f32", "phi4-mini-q8_0",
        ] {
            let source = written.path("ggufs", name + ".gguf")
            try GGUFExport(PretrainedModel.load(source), types: .original).write(to: scratch.path + "/again.gguf")
            let (old, new) = (try GGUFFile(path: source), try GGUFFile(path: scratch.path + "/again.gguf"))
            #expect(Set(new.names) == Set(old.names), "\(name)")
            for tensor in old.names {
                let (a, b) = (try old.tensor(tensor), try new.tensor(tensor))
                #expect(a.dtype == b.dtype, "\(name): \(tensor)")
                // Rotary factors are computed anew
                let isSame = tensor == "rope_freqs.weight" || a.values() == b.values()
                #expect(isSame, "\(name): \(tensor)")
                expectClose(a, b, absolute: 0, relative: 1e-5, "\(name): \(tensor)")
            }
            for key in ["tokenizer.ggml.model", "tokenizer.ggml.tokens", "tokenizer.ggml.merges"] {
                #expect(new.metadata[key] == old.metadata[key], "\(name): \(key)")
            }
        }
    }

    @Test func whatGGUFCannotSayIsRefused() throws {
        let written = try Interoperation.written()
        // Its second layer alone has a window
        let error = #expect(throws: MoruError.self) {
            try GGUFExport(PretrainedModel.load(written.path("models", "qwen2")), types: .original)
        }
        #expect(error?.code == .exportUnsupported && error?.message.contains("window") == true)
        // Its second layer alone has no experts, which llama.cpp does not know
        #expect(throws: MoruError.self) {
            try GGUFExport(PretrainedModel.load(written.path("models", "qwen3_moe-mixed")), types: .original)
        }
        let mistral = try GGUFExport(PretrainedModel.load(written.path("models", "mistral")), types: .original)
        #expect(mistral.notes.first?.contains("window of 8") == true)
    }
}

/// Plans of what is stored how, and the calibration behind it.
@Suite struct StorageTypesTests {
    private func choose(
        _ types: StorageTypes, _ name: String, _ shape: [Int], tied: Bool = true
    ) throws -> (DType, StorageTypes.Deviation?) {
        try types.choose(for: name, shape: shape, source: .f32, layerCount: 24, isTied: tied)
    }

    @Test func mixturesSpendBitsAsLlamaCppDoes() throws {
        let medium = StorageTypes.mixture(.q4_K, isMedium: true)
        let better = try (0..<24).filter {
            try choose(medium, "blk.\($0).ffn_down.weight", [256, 512]).0 == .q6_K
        }
        // The first and last eighth, and every third between
        #expect(better == [0, 1, 2, 5, 8, 11, 14, 17, 20, 21, 22, 23])
        #expect(try choose(medium, "blk.4.attn_q.weight", [256, 256]).0 == .q4_K)
        #expect(try choose(medium, "token_embd.weight", [512, 256]).0 == .q6_K)
        #expect(try choose(medium, "token_embd.weight", [512, 256], tied: false).0 == .q4_K)
        #expect(try choose(medium, "output.weight", [512, 256], tied: false).0 == .q6_K)
        #expect(try choose(medium, "output_norm.weight", [256]).0 == .f32)
        let small = StorageTypes.mixture(.q4_K, isMedium: false)
        #expect(try choose(small, "blk.3.attn_v.weight", [256, 256]).0 == .q5_K)
        #expect(try choose(small, "blk.4.attn_v.weight", [256, 256]).0 == .q4_K)
    }

    @Test func rowsThatAreNoWholeBlocksFallBackAndSaySo() throws {
        let (dtype, deviation) = try choose(.uniform(.q4_K), "blk.0.attn_q.weight", [64, 576])
        #expect(dtype == .q5_0 && deviation == .rowLength(576, blockElements: 256))
        #expect(deviation?.description == "rows of 576 are not a multiple of 256")
        let (dense, why) = try choose(.uniform(.q4_0), "blk.0.attn_q.weight", [64, 40])
        #expect(dense == .f16 && why == .rowLength(40, blockElements: 32))
        #expect(StorageTypes(name: "q4_k_m") == .mixture(.q4_K, isMedium: true) && StorageTypes(name: "q9") == nil)
    }

    @Test func calibrationIsTheMeanSquareOfWhatLayersRead() throws {
        let model = try TestModels.tinyLlama()
        let windows: [[Int32]] = [[1, 2, 3, 4, 5], [9, 8, 7]]
        let found = try Calibration(of: model, on: windows)
        #expect(found.tokens == 8 && found.means.count == model.linears.count + 1)
        let layer = "model.layers.0.self_attn"
        #expect(found.means["\(layer).q_proj.weight"] == found.means["\(layer).v_proj.weight"])
        // Before the first layer there is only the normalised embedding, after the last only the output projection
        let states = windows.map { model.hiddenStates(TokenBatch([$0])).values() }.joined()
        let dim = model.facts.hiddenSize
        let means = (0..<dim).map { column in
            stride(from: column, to: states.count, by: dim).reduce(Float(0)) {
                $0 + Array(states)[$1] * Array(states)[$1]
            } / 8
        }
        expectClose(found.means[model.outputProjection.path] ?? [], means, relative: 1e-4)
    }

    @Test func importanceMatricesAreWrittenAndRead() throws {
        let scratch = try Scratch()
        try TestModels.writeTinyDirectory(scratch.path + "/model")
        let model = try PretrainedModel.load(scratch.path + "/model")
        let export = try GGUFExport(model, types: .uniform(.q4_0))
        let windows = try TokenWindows("some text that is long enough", for: model, length: 16, source: "text")
        #expect(windows.windows.allSatisfy { 2...16 ~= $0.count })
        let found = try Calibration(of: model.model, on: windows.windows)
        let path = scratch.path + "/imatrix.gguf"
        try found.write(to: path, for: export, texts: "text", windowTokens: 16)
        let again = try Calibration(file: path, for: export)
        #expect(Set(again.means.keys) == Set(found.means.keys))
        for (path, means) in found.means { expectClose(again.means[path] ?? [], means, relative: 1e-5, path) }
        let error = #expect(throws: MoruError.self) {
            try export.write(to: scratch.path + "/model.gguf")
            _ = try Calibration(file: scratch.path + "/model.gguf", for: export)
        }
        #expect(error?.code == .calibrationMalformed)
        let tensor = try #require(export.tensors.first { !$0.paths.isEmpty })
        let damages: [(Int, Float, String)] = [(.max, 1, "chunk_count"), (1, .nan, "not finite"), (1, -1, "negative")]
        for (chunks, sum, part) in damages {
            let sums = Tensor(
                Array(repeating: sum, count: tensor.paths.count * (tensor.shape.last ?? 0)),
                shape: [tensor.paths.count, tensor.shape.last ?? 0])
            let metadata = [
                GGUFField("general.type", .string("imatrix")), GGUFField("imatrix.chunk_count", .int(chunks)),
                GGUFField("imatrix.chunk_size", .int(512)),
            ]
            try GGUFWriter.write(metadata: metadata, tensors: [(tensor.name + ".in_sum2", sums)], to: path)
            let error = #expect(throws: MoruError.self) { _ = try Calibration(file: path, for: export) }
            #expect(error?.code == .calibrationMalformed && error?.message.contains(part) == true, "\(part)")
        }
    }

    @Test func importanceMovesTheErrorToWhereItMattersLess() throws {
        let weight = Deterministic.tensor("weight", [32, 256])
        var importance = [Float](repeating: 1, count: 256)
        for column in 0..<64 { importance[column] = 100 }
        func error(_ tensor: Tensor, _ columns: Range<Int>) -> Float {
            let (found, expected) = (tensor.values(), weight.values())
            return found.indices.filter { columns.contains($0 % 256) }.reduce(0) {
                $0 + (found[$1] - expected[$1]) * (found[$1] - expected[$1])
            }
        }
        for dtype in [DType.q4_0, .q4_1, .q5_0, .q5_1, .q4_K, .q5_K, .q6_K] {
            let plain = weight.quantized(to: dtype)
            let weighed = weight.quantized(to: dtype, importance: importance)
            // Blocks of 32 lie on one side each, so that nothing can move between them; super-blocks hold both
            let isSuper = dtype.blockElements == 256
            #expect(!isSuper || error(weighed, 0..<64) < error(plain, 0..<64), "\(dtype)")
            #expect(error(weighed, 0..<256) < 1.3 * error(plain, 0..<256), "\(dtype)")
        }
    }
}
