import MoruBase
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

@testable import MoruModels

/// Adapters merged as PEFT merges them, on models that transformers wrote.
@Suite(.tags(.golden), .enabled(if: TestNeeds.python != nil)) struct AdapterMergeTests {
    static let onLlama = ["plain", "rslora", "layers", "pattern", "dora", "dora-rslora", "ia3", "ia3-inputs"]
    static let onGPT2 = ["gpt2-lora", "gpt2-dora", "gpt2-ia3"]

    @Test(arguments: onLlama + onGPT2) func theModelComputesWhatPEFTMerges(name: String) throws {
        let written = try Interoperation.written()
        let isGPT2 = Self.onGPT2.contains(name)
        let path = isGPT2 ? written.path("adapters", "gpt2") : written.path("models", "llama")
        let base = try PretrainedModel.load(path)
        let adapter = try AdapterDirectory.load(from: written.path("adapters", name), for: base.model)
        let merge = try AdapterMerge([.init(adapter)], into: base.model)
        #expect(merge.layers.count == adapter.layers.count)
        var steps: [Int] = []
        try merge.apply { steps.append($0) }
        #expect(steps == Array(0...merge.layers.count))
        let expected = try #require(written.answers["adapters"]?[name]?["merged"]?.array).map(\.floats)
        let plain = try isGPT2 ? written.logits("adapters", "gpt2") : written.logits("models", "llama")
        #expect(disagreement(expected[0], plain[0], absolute: 0.1, relative: 0) != nil)
        Interoperation.expectAgreement(Interoperation.logits(base.model, written), expected, name)
        // What is saved is what was merged
        let scratch = try Scratch()
        try base.save(to: scratch.path + "/merged")
        Interoperation.expectAgreement(
            Interoperation.logits(try PretrainedModel.load(scratch.path + "/merged").model, written), expected, name)
    }

    @Test func severalAdaptersAddUpByWeight() throws {
        let written = try Interoperation.written()
        let base = try PretrainedModel.load(written.path("models", "llama"))
        let parts = try [("plain", 0.7 as Float), ("gaussian", 0.4)].map { name, weight in
            AdapterMerge.Part(
                try AdapterDirectory.load(from: written.path("adapters", name), for: base.model), weight: weight)
        }
        try AdapterMerge(parts, into: base.model).apply()
        Interoperation.expectAgreement(
            Interoperation.logits(base.model, written), try written.logits("adapters", "combined"), "combined")
    }

    @Test(arguments: ["prompt", "prefix"]) func learntTokensAreNoWeights(name: String) throws {
        let written = try Interoperation.written()
        let base = try PretrainedModel.load(written.path("models", "llama"))
        let adapter = try AdapterDirectory.load(from: written.path("adapters", name), for: base.model)
        let error = #expect(throws: MoruError.self) {
            try AdapterMerge([.init(adapter, name: "soft")], into: base.model)
        }
        #expect(error?.code == .mergeUnsupported && error?.message.hasPrefix("soft") == true && error?.remedy != nil)
    }
}

/// The merging of whole models.
@Suite struct ModelMergeTests {
    private func tensor(_ name: String) -> Tensor { Deterministic.tensor(name, [6, 7]) }

    @Test(.tags(.golden)) func slerpAgreesWithTheFormula() throws {
        let (a, b) = (tensor("a"), tensor("b"))
        let cases = try #require(try Goldens.json("merging.json")["slerp"]?.array)
        #expect(cases.count == 8)
        for golden in cases {
            let other = golden["near"] == true ? a * 1.01 + b * 1e-4 : b
            let t = Float(golden["t"]?.double ?? -1)
            expectClose(
                MergeArithmetic.slerp(a, other, t).values(), golden["values"]?.floats ?? [], absolute: 1e-6, "t = \(t)")
        }
    }

    @Test(.tags(.golden)) func tiesAgreesWithThePaper() throws {
        let cases = try #require(try Goldens.json("merging.json")["ties"]?.array)
        #expect(cases.count == 4)
        for golden in cases {
            let found = MergeArithmetic.ties(
                tensor("base"), ["a", "b", "c"].map(tensor), weights: golden["weights"]?.floats ?? [],
                density: Float(golden["density"]?.double ?? 0), scale: Float(golden["scale"]?.double ?? 0))
            expectClose(
                found.values(), golden["values"]?.floats ?? [], absolute: 1e-6, "density \(golden["density"] ?? .null)")
        }
    }

    @Test func modelsOfOneShapeMerge() throws {
        let scratch = try Scratch()
        let paths = (0..<3).map { "\(scratch.path)/\($0)" }
        for (seed, path) in paths.enumerated() { try TestModels.writeTinyDirectory(path, seed: UInt64(seed + 1)) }
        let others = try paths.dropFirst().map { ModelMerge.Part(try PretrainedModel.load($0), weight: 0.25) }
        let base = try PretrainedModel.load(paths[0])
        let before = base.model.parameters.map { $0.value.values() }
        try ModelMerge(others, into: base, .linear).apply()
        for (index, parameter) in base.model.parameters.enumerated() {
            let values = others.map { $0.model.model.parameters[index].value.values() }
            let expected = before[index].indices.map {
                0.5 * before[index][$0] + 0.25 * values[0][$0] + 0.25 * values[1][$0]
            }
            expectClose(parameter.value.values(), expected, absolute: 1e-6, parameter.path)
        }
        // At its ends SLERP is one of the models
        let first = try PretrainedModel.load(paths[0])
        try ModelMerge([others[0]], into: first, .slerp(1)).apply()
        for (found, expected) in zip(first.model.parameters, others[0].model.model.parameters) {
            expectClose(found.value, expected.value, absolute: 1e-6, found.path)
        }
    }

    @Test func whatDiffersIsNamed() throws {
        let scratch = try Scratch()
        let (a, b) = (scratch.path + "/a", scratch.path + "/b")
        try TestModels.writeTinyDirectory(a)
        try TestModels.writeTinyDirectory(b)
        let base = try PretrainedModel.load(a)
        func error(
            _ method: ModelMergeMethod = .linear, count: Int = 1, _ change: (inout String, inout String) -> Void
        ) throws -> MoruError? {
            var config = try FileSystem.readText(a + "/config.json")
            var tokenizer = try FileSystem.readText(a + "/tokenizer.json")
            change(&config, &tokenizer)
            try FileSystem.write(config.utf8, to: b + "/config.json")
            try FileSystem.write(tokenizer.utf8, to: b + "/tokenizer.json")
            let part = ModelMerge.Part(try PretrainedModel.load(b))
            return #expect(throws: MoruError.self) {
                try ModelMerge(Array(repeating: part, count: count), into: base, method)
            }
        }
        let tokenizer = try error { $1 = $1.replacing("<|im_start|>", with: "<|start|>") }
        #expect(tokenizer?.code == .mergeMismatch && tokenizer?.message.contains("<|start|>") == true)
        let pair = try error(.slerp(0.5), count: 2) { _, _ in }
        #expect(pair?.code == .mergeSetting && pair?.message.contains("3") == true)
        #expect(try error(.ties(density: 0, scale: 1)) { _, _ in }?.code == .mergeSetting)

        try TestModels.writeTinyDirectory(b)
        var config = try FileSystem.readText(b + "/config.json")
        config.replace("\"rms_norm_eps\": 1e-05", with: "\"rms_norm_eps\": 0.001")
        try FileSystem.write(config.utf8, to: b + "/config.json")
        let merge = try ModelMerge([.init(try PretrainedModel.load(b))], into: base, .linear)
        #expect(merge.notes.count == 1 && merge.notes[0].hasPrefix("rms_norm_eps is 1e-05 in "), "\(merge.notes)")
    }
}
