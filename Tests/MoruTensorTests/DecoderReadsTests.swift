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
            (0..<count).map { DecoderReads.first($0, of: count, weights.map { [$0] }).baseAddress }
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

    @Test("of weights that are computed side by side lies in the first of them")
    func sideBySide() {
        let threads = ThreadPool(threadCount: 1)
        let tensors = [4, 4, 2].map { Deterministic.tensor("w", [$0 * FewRowsWeight.unit, 64], scale: 1) }
        let weights = tensors.map { FewRowsWeight($0, threads: threads) }
        let groups = [[weights[0], weights[1]], [weights[2]]]
        withExtendedLifetime(tensors) {
            // 10 units in all: of three shares the second begins after 3 1/3 of them, the third after 6 2/3
            #expect(DecoderReads.first(0, of: 3, groups).baseAddress == weights[0].bytes(ofUnit: 0).baseAddress)
            #expect(DecoderReads.first(1, of: 3, groups).baseAddress == weights[0].bytes(ofUnit: 2).baseAddress)
            #expect(DecoderReads.first(2, of: 3, groups).baseAddress == weights[2].bytes(ofUnit: 0).baseAddress)
        }
    }

    @Test func nothingIsReadOfNoWeights() {
        #expect(DecoderReads.first(1, of: 2, []).isEmpty)
    }
}
