import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

/// What adapters refuse, in configurations and in batches.
@Suite struct AdapterRowsTests {
    @Test(arguments: [
        LoRAConfiguration(rank: 0), LoRAConfiguration(rank: -1), LoRAConfiguration(rank: .max),
        LoRAConfiguration(alpha: .nan), LoRAConfiguration(dropout: 1), LoRAConfiguration(targets: []),
    ])
    func configurationsOutOfRangeAreRefused(configuration: LoRAConfiguration) throws {
        let model = try TestModels.tinyLlama()
        let error = #expect(throws: MoruError.self) {
            try LoRAAdapter(configuration, adapting: model.linears, seed: 1)
        }
        #expect(error?.code == .adapterMismatch && error?.remedy != nil)
    }

    @Test func adaptersOfOverlappingRowsEndTheProcess() async {
        await #expect(processExitsWith: .failure) {
            let layer = Linear(path: "q_proj", weight: Parameter("q_proj.weight", .ones([3, 4])))
            let adapter = try LoRAAdapter(LoRAConfiguration(rank: 1, targets: ["q_proj"]), adapting: [layer], seed: 1)
            let runs = [0..<3, 2..<4].map { LayerContext.AdapterRun(rows: $0, adapter: adapter) }
            _ = layer(.ones([5, 4]), LayerContext(adapters: runs))
        }
    }

    @Test func positionsContinueAfterTheCache() {
        let cache = SequenceCache(layerCount: 0, kvHeads: 1, headDim: 2)
        cache.advance(by: 5)
        var batch = TokenBatch()
        batch.append([1, 2])
        batch.append([3, 4, 5], cache: cache)
        batch.append([])
        #expect(batch.positions == [0, 1, 5, 6, 7])
    }

    @Test func anEmptyBatchHasNoHiddenStates() throws {
        let model = try TestModels.tinyLlama()
        #expect(model.hiddenStates(TokenBatch()).shape == [0, model.facts.hiddenSize])
    }
}
