import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

/// Prompts and prefixes before a sequence, in training's whole sequences and over caches.
@Suite struct VirtualTokenTests {
    private let base: PretrainedModel
    private let text = "You are"
    private let tokens: [Int32] = [72, 105, 33, 10, 9, 8, 7, 6, 5, 4, 3, 2, 80]

    init() throws { base = try TestModels.tinyPretrained(seed: 3) }

    private func logits(_ batch: TokenBatch) -> Tensor {
        Runtime.withPrecision(.f32) { base.model.logits(base.model.hiddenStates(batch)) }
    }

    /// The kinds that can begin with a text, of so many virtual tokens.
    private func started(_ count: Int) throws -> [any Adapter] {
        try Runtime.withPrecision(.f32) {
            [
                try PromptTuningAdapter(tokens: count, start: .text(text), for: base.model, base.tokenizer, seed: 0),
                try PrefixTuningAdapter(tokens: count, start: .text(text), for: base.model, base.tokenizer, seed: 0),
            ]
        }
    }

    /// Virtual tokens that begin with a text do what the text does, until they are trained.
    @Test func aTextToBeginWithIsLikeTheTextBefore() throws {
        let written = base.tokenizer.encode(text, addSpecialTokens: false)
        let repeated = (0..<written.count + 3).map { written[$0 % written.count] }
        for start in [written, Array(written.prefix(2)), repeated] {
            let expected = logits(TokenBatch([start + tokens])).rows(start.count..<start.count + tokens.count)
            for adapter in try started(start.count) {
                #expect(adapter.virtualTokenCount == start.count)
                expectClose(logits(TokenBatch([tokens], adapter: adapter)), expected, absolute: 1e-4)
            }
        }
    }

    private func adapters() throws -> [(any Adapter)?] {
        let model = base.model
        let lora = try LoRAAdapter(
            LoRAConfiguration(rank: 2, targets: ["k_proj", "up_proj"], decomposesWeights: true),
            adapting: model.linears, seed: 2)
        for pair in lora.pairs.values { pair.b.value = Deterministic.tensor(pair.b.path, pair.b.value.shape) }
        let scaled = try IA3Adapter(IA3Configuration(), adapting: model.linears)
        for parameter in scaled.parameters {
            parameter.value = Deterministic.tensor(parameter.path, parameter.value.shape, scale: 4)
        }
        let prompt = try PromptTuningAdapter(tokens: 3, start: .random, for: base.model, base.tokenizer, seed: 0)
        prompt.embeddings.value = Deterministic.tensor("prompt", prompt.embeddings.value.shape)
        let prefix = try PrefixTuningAdapter(tokens: 70, start: .random, for: base.model, base.tokenizer, seed: 0)
        prefix.keysAndValues.value = Deterministic.tensor("prefix", prefix.keysAndValues.value.shape, scale: 3)
        return [lora, nil, scaled, prompt, nil, prefix, prompt, lora]
    }

    /// Each segment of a batch has its own adapter, and gets what it would get alone.
    @Test func aBatchMixesKinds() throws {
        var batch = TokenBatch()
        var alone: [Tensor] = []
        for (index, adapter) in try adapters().enumerated() {
            let some = tokens.prefix(3 + index)
            batch.append(some, adapter: adapter)
            alone.append(logits(TokenBatch([Array(some)], adapter: adapter)))
        }
        let together = logits(batch)
        #expect(together.shape[0] == batch.count)
        for (segment, expected) in zip(batch.segments, alone) {
            expectClose(together.rows(segment.rows), expected, absolute: 2e-5)
        }
        // Every kind changes something, or the comparison would show nothing
        let plain = logits(TokenBatch([Array(tokens.prefix(3))]))
        for adapter in try adapters().compactMap({ $0 }) {
            let changed = logits(TokenBatch([Array(tokens.prefix(3))], adapter: adapter))
            #expect(disagreement(changed.values(), plain.values(), absolute: 1e-2, relative: 0) != nil)
        }
    }

    /// Sequences over caches, some tokens at a time, are the whole sequences of training.
    @Test func cachesBeginWithVirtualTokens() throws {
        for adapter in try adapters() {
            let expected = logits(TokenBatch([tokens], adapter: adapter))
            let cache = base.model.makeCache(for: adapter)
            #expect(cache.count == adapter?.virtualTokenCount ?? 0)
            var parts: [Tensor] = []
            for range in [0..<1, 1..<10, 10..<11, 11..<13] {
                var batch = TokenBatch()
                batch.append(tokens[range], cache: cache, adapter: adapter)
                parts.append(logits(batch))
            }
            #expect(cache.count == tokens.count + (adapter?.virtualTokenCount ?? 0))
            expectClose(Tensor.concatenated(parts), expected, absolute: 1e-4)
        }
    }

    @Test func whatCannotBeIsRefused() throws {
        let length = base.model.facts.contextLength
        for count in [0, -1, length, length + 1] {
            let error = #expect(throws: MoruError.self) {
                try PromptTuningAdapter(tokens: count, start: .random, for: base.model, base.tokenizer, seed: 0)
            }
            #expect(error?.code == .adapterMismatch && error?.message.contains("\(count)") == true)
        }
        let empty = #expect(throws: MoruError.self) {
            try PrefixTuningAdapter(tokens: 3, start: .text(""), for: base.model, base.tokenizer, seed: 0)
        }
        #expect(empty?.code == .adapterMismatch)
        let scratch = try Scratch()
        try PromptTuningAdapter(tokens: 3, start: .random, for: base.model, base.tokenizer, seed: 0).save(
            to: scratch.path + "/a", baseModel: "tiny")
        let other = ScriptedModel(vocabularySize: 8) { token, _ in token }
        let error = #expect(throws: MoruError.self) {
            try AdapterDirectory.load(from: scratch.path + "/a", for: other)
        }
        #expect(error?.code == .adapterUnsupported && error?.remedy?.contains("LoRA") == true)
        let wider = try TestModels.tinyLlama(
            configuration: [
                "model_type": "llama", "vocab_size": 64, "hidden_size": 48, "intermediate_size": 48,
                "num_hidden_layers": 2, "num_attention_heads": 4,
            ])
        let misfit = #expect(throws: MoruError.self) {
            try AdapterDirectory.load(from: scratch.path + "/a", for: wider)
        }
        #expect(misfit?.code == .adapterMismatch && misfit?.message.contains("[3, 48]") == true)
    }
}
