import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

@Suite struct LoRAAdapterTests {
    @Test func aFreshAdapterChangesNothing() throws {
        let model = try TestModels.tinyLlama()
        let adapter = try LoRAAdapter(LoRAConfiguration(rank: 4), adapting: model.linears, seed: 1)
        #expect(adapter.pairs.count == 8)
        let tokens: [Int32] = [1, 2, 3]
        Runtime.withPrecision(.f32) {
            let plain = model.hiddenStates(TokenBatch([tokens]))
            let adapted = model.hiddenStates(TokenBatch([tokens], adapter: adapter))
            expectEqual(plain, adapted)
        }
    }

    @Test func rowsWithoutTheAdapterAreUntouched() throws {
        let model = try TestModels.tinyLlama()
        let adapter = try LoRAAdapter(LoRAConfiguration(rank: 4), adapting: model.linears, seed: 1)
        for pair in adapter.pairs.values { pair.b.value = Deterministic.tensor(pair.b.path, pair.b.value.shape) }
        let (a, b): ([Int32], [Int32]) = ([1, 2, 3], [4, 5, 6, 7])
        Runtime.withPrecision(.f32) {
            var mixed = TokenBatch()
            mixed.append(a)
            mixed.append(b, adapter: adapter)
            mixed.append(a)
            let out = model.hiddenStates(mixed)
            let plain = model.hiddenStates(TokenBatch([a]))
            let adapted = model.hiddenStates(TokenBatch([b], adapter: adapter))
            expectClose(out.rows(0..<3), plain)
            expectClose(out.rows(3..<7), adapted)
            expectClose(out.rows(7..<10), plain)
            let unadapted = model.hiddenStates(TokenBatch([b]))
            #expect(disagreement(adapted.values(), unadapted.values(), absolute: 1e-3, relative: 0) != nil)
        }
    }

    @Test func aTargetThatNamesNoLayerIsRefused() throws {
        let model = try TestModels.tinyLlama()
        let error = #expect(throws: MoruError.self) {
            try LoRAAdapter(LoRAConfiguration(targets: ["q_porj"]), adapting: model.linears, seed: 1)
        }
        #expect(error?.code == .adapterMismatch && error?.remedy?.contains("q_proj") == true)
    }

    @Test func rankStabilizationScalesByTheRoot() {
        #expect(LoRAConfiguration(rank: 16, alpha: 32).scale == 2)
        #expect(LoRAConfiguration(rank: 16, alpha: 32, usesRankStabilization: true).scale == 8)
    }
}
