import MoruTensor
import MoruTestKit
import Testing

/// Shapes that do not fit end the process instead of reading beyond a tensor.
@Suite struct PreconditionTests {
    @Test func productsCheckTheirOperands() async {
        await #expect(processExitsWith: .failure) {
            _ = Tensor.ones([4, 6]).linear(.ones([3, 6]), adding: .ones([4, 2]))
        }
        await #expect(processExitsWith: .failure) {
            _ = linearCrossEntropy(.ones([2, 6]), .ones([3, 7]), [0, 1])
        }
        await #expect(processExitsWith: .failure) {
            _ = Tensor.ones([4, 6]).layerNorm(.ones([6]), bias: .ones([5]), epsilon: 1e-5)
        }
        await #expect(processExitsWith: .failure) {
            var (first, second) = (Tensor.zeros([2]), Tensor.zeros([3]))
            let step = AdamWStep(learningRate: 1, beta1: 0, beta2: 0, epsilon: 1, weightDecay: 0, step: 1)
            var parameter = Tensor.ones([3])
            parameter.step(step, gradient: .ones([3]), first: &first, second: &second)
        }
    }

    @Test func cachesCheckWhatIsStoredAndRead() async {
        await #expect(processExitsWith: .failure) {
            let cache = SequenceCache(layerCount: 1, kvHeads: 2, headDim: 8)
            cache.store(.ones([3, 16]), .ones([3, 16]), rows: 0..<4, layer: 0, position: 0)
        }
        await #expect(processExitsWith: .failure) {
            let cache = SequenceCache(layerCount: 1, kvHeads: 2, headDim: 8)
            let run = CachedAttentionRun(rows: 0..<1, firstPosition: 0, cache: cache, layer: 0)
            _ = cachedAttention(q: .ones([1, 4, 8]), runs: [run], AttentionOptions(scale: 1))
        }
    }

    @Test func formatsThatCannotBeWrittenAreRefused() async {
        #expect(DType.q8_0.isWritable && !DType.q4_K.isWritable && !DType.i64.isWritable)
        await #expect(processExitsWith: .failure) { _ = Tensor.ones([1, 256]).converted(to: .q4_K) }
        await #expect(processExitsWith: .failure) { _ = Tensor.ones([32, 3]).converted(to: .q8_0) }
    }
}
