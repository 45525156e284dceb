import Foundation
import MoruBase
import MoruEngine
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import Synchronization

@testable import MoruServer

/// A folder of tiny models for the time of a test.
final class ModelFiles: Sendable {
    let path = TestNeeds.temporaryPath("models")
    /// How often each source was looked for, which happens once for each load.
    let located = Mutex<[String: Int]>([:])

    deinit { FileSystem.remove(path) }

    /// A tiny language model.
    func llama(_ name: String, seed: UInt64) throws -> String {
        try TestModels.writeTinyDirectory("\(path)/\(name)", seed: seed)
        return "\(path)/\(name)"
    }

    /// A tiny encoder, as one of sentence-transformers or bare.
    func encoder(_ name: String, isBare: Bool = false) throws -> String {
        let directory = "\(path)/\(name)"
        try TestModels.tinyEmbedder().save(to: directory)
        if isBare { FileSystem.remove(directory + "/modules.json") }
        return directory
    }

    /// A model with a head on what lies at a path.
    func classifier(_ name: String, on base: String) throws -> String {
        let model = try HeadedModel.start(base, head: HeadConfiguration(.sequence, labels: ["no", "yes"]), seed: 3)
        try model.save(to: "\(path)/\(name)")
        return "\(path)/\(name)"
    }

    /// An adapter of low rank on a language model; the seed decides its numbers.
    func lora(_ name: String, on base: String, seed: UInt64) throws -> String {
        let model = try PretrainedModel.load(base).model
        let adapter = try LoRAAdapter(
            LoRAConfiguration(rank: 4, alpha: 16, targets: ["q_proj", "v_proj"]), adapting: model.linears, seed: seed)
        Self.randomize(adapter, seed: seed, deviation: 0.3)
        try adapter.save(to: "\(path)/\(name)", baseModel: base)
        return "\(path)/\(name)"
    }

    /// A prompt of learnt vectors on a language model.
    func promptTuning(_ name: String, on base: String, seed: UInt64) throws -> String {
        let hidden = try PretrainedModel.load(base).model.facts.hiddenSize
        var generator = RandomGenerator(seed: seed)
        let adapter = PromptTuningAdapter(.normal([5, hidden], standardDeviation: 0.5, using: &generator))
        try adapter.save(to: "\(path)/\(name)", baseModel: base)
        return "\(path)/\(name)"
    }

    /// An adapter of low rank that brings a head along.
    func headAdapter(_ name: String, on base: String, target: String, seed: UInt64) throws -> String {
        let model = try HeadedModel.start(base, head: HeadConfiguration(.sequence, labels: ["no", "yes"]), seed: seed)
        let adapter = try LoRAAdapter(
            LoRAConfiguration(rank: 2, targets: [target]), adapting: model.base.linears, seed: seed)
        try adapter.save(to: "\(path)/\(name)", baseModel: base, withHeadOf: model)
        return "\(path)/\(name)"
    }

    private static func randomize(_ adapter: any Adapter, seed: UInt64, deviation: Float) {
        var generator = RandomGenerator(seed: seed)
        for parameter in adapter.parameters {
            parameter.value = .normal(parameter.value.shape, standardDeviation: deviation, using: &generator)
        }
    }

    /// A model that generates, with little memory for keys and values, loaded when it is first asked for.
    func specification(
        _ name: String, _ source: String, on base: String? = nil, isPinned: Bool = false
    ) -> ModelSpecification {
        ModelSpecification(
            name: name, source: source, base: base,
            engine: EngineConfiguration(cacheBytes: base == nil ? Self.cacheBytes : nil), isPinned: isPinned,
            loadsAtStart: false)
    }

    static let cacheBytes = 1 << 20

    /// A catalogue that notes what it looks for.
    func catalog(
        _ specifications: [ModelSpecification], budget: Int? = nil, retryPause: Duration = .zero
    ) throws -> ModelCatalog {
        try ModelCatalog(specifications, budget: budget, retryPause: retryPause) { [self] source in
            located.withLock { $0[source, default: 0] += 1 }
            return source
        }
    }
}
