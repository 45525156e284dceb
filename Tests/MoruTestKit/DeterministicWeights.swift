import MoruBase
import MoruNN
import MoruTensor

/// Numbers that the golden scripts rebuild from a name; the same formula as `scripts/goldens/deterministic.py`.
public enum Deterministic {
    /// A tensor spread evenly over `-scale/2 ..< scale/2`: SplitMix64 of `hash(name) ^ index`, its top 24 bits.
    public static func tensor(_ name: String, _ shape: [Int], scale: Double = 1) -> Tensor {
        let seed = name.utf8.reduce(0xCBF2_9CE4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
        let values = (0..<shape.reduce(1, *)).map { index in
            var generator = SplitMix64(seed: UInt64(index) ^ seed)
            return Float((Double(generator.next() >> 40) * 0x1p-24 - 0.5) * scale)
        }
        return Tensor(values, shape: shape)
    }
}

/// A model's parameters by name: around 1 for norms, small around 0 for biases, spread over ±0.2 for matrices.
public struct DeterministicWeights: WeightSource {
    /// Makes the source.
    public init() {}

    /// Every name has a tensor.
    public func contains(_ path: String) -> Bool { true }

    /// The tensor of a name.
    public func weight(_ path: String, shape: [Int], _ initialization: Initialization) -> Tensor {
        let tensor = Deterministic.tensor(path, shape, scale: 0.4)
        return shape.count == 1 && !path.contains("bias") ? tensor + Tensor.ones(shape) : tensor
    }
}
