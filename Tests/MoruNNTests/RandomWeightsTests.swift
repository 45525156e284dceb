import MoruBase
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

@Suite struct RandomWeightsTests {
    @Test func valuesDependOnTheSeedAndThePathAlone() throws {
        func values(_ seed: UInt64, _ path: String) throws -> [Float] {
            try RandomWeights(seed: seed).weight(path, shape: [4, 5], .normal(standardDeviation: 1)).values()
        }
        try expectEqual(values(1, "a"), values(1, "a"))
        #expect(try values(1, "a") != values(2, "a") && values(1, "a") != values(1, "b"))
    }

    @Test(arguments: [[1 << 40, 1 << 20], [Int.max, Int.max]])
    func shapesBeyondTheMemoryAreRefused(shape: [Int]) {
        let error = #expect(throws: MoruError.self) {
            try RandomWeights(seed: 1).weight("big", shape: shape, .zeros)
        }
        #expect(error?.code == .weightShape && error?.message.contains("big") == true)
    }
}
