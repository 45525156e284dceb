import Foundation
import MoruBase
import MoruTensor

/// A random start: every tensor's values depend only on the seed and the tensor's path.
public struct RandomWeights: WeightSource {
    private let seed: UInt64

    /// The start of a seed.
    public init(seed: UInt64) { self.seed = seed }

    /// A fresh tensor.
    ///
    /// - Throws: ``MoruError/Code/weightShape`` when it is larger than the machine's memory.
    public func weight(
        _ path: String, shape: [Int], _ initialization: Initialization
    ) throws(MoruError) -> Tensor {
        let memory = Machine.memory
        let bytes = shape.reduce(Double(MemoryLayout<Float>.stride)) { $0 * Double($1) }
        guard bytes <= Double(memory) else {
            throw MoruError(
                .weightShape, "\(path): a tensor of shape \(shape) is larger than the memory of \(memory) bytes",
                remedy: "choose a smaller configuration")
        }
        switch initialization {
        case .zeros: return .zeros(shape)
        case .ones: return .ones(shape)
        case .normal(let deviation):
            var generator = RandomGenerator(seed: seed ^ stableHash(path))
            return .normal(shape, standardDeviation: deviation, using: &generator)
        }
    }

    /// Random weights have whatever is asked for.
    public func contains(_ path: String) -> Bool { true }
}

/// A hash that is the same in every process (FNV-1a, 64 bits).
package func stableHash(_ text: String) -> UInt64 {
    text.utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
}
