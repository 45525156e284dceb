import MoruTestKit
import Testing

@testable import MoruTensor

@Suite("What threads read first of a decoder's weights")
struct DecoderReadsTests {
    /// 7 units of outputs in two weights, which the threads share evenly: shares begin at whole units.
    @Test("lies where their shares begin", arguments: [DType.f32, .q4_1, .q8_0])
    func shares(format: DType) {
        let threads = ThreadPool(threadCount: 1)
        let tensors = [5, 2].map {
            Deterministic.tensor("w\($0)", [$0 * FewRowsWeight.unit, 64], scale: 1).converted(to: format)
        }
        let weights = tensors.map { FewRowsWeight($0, threads: threads) }
        func places(_ count: Int) -> [UnsafeRawPointer?] {
            (0..<count).map { DecoderReads.first($0, of: count, weights).baseAddress }
        }
        func unit(_ number: Int, of weight: Int) -> UnsafeRawPointer? {
            weights[weight].bytes(ofUnit: number).baseAddress
        }
        withExtendedLifetime(tensors) {
            #expect(places(1) == [unit(0, of: 0)])
            #expect(places(2) == [unit(0, of: 0), unit(4, of: 0)])
            #expect(places(3) == [unit(0, of: 0), unit(3, of: 0), unit(0, of: 1)])
        }
    }

    @Test func nothingIsReadOfNoWeights() {
        #expect(DecoderReads.first(1, of: 2, []).isEmpty)
    }
}
