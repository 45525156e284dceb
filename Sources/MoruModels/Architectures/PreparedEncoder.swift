import MoruNN
import MoruTensor
import Synchronization

/// The pass of an encoder's weights, made when it is first needed and again when they have changed.
final class PreparedEncoder: Sendable {
    private struct Made {
        let pass: any EncoderPass
        /// What it was made of. While these are held, who changes a weight gets memory of its own for it.
        let weights: [Tensor]
        let precision: Precision
    }

    private let made = Mutex<Made?>(nil)

    func forget() { made.withLock { $0 = nil } }

    func pass(of trunk: EncoderTrunk) -> any EncoderPass {
        let precision = Runtime.shared.precision
        let weights = (trunk.norm.parameters + trunk.blocks.flatMap(\.parameters)).map(\.value)
        return made.withLock { made in
            if let made, made.precision == precision, zip(made.weights, weights).allSatisfy({ $0.isSame(as: $1) }) {
                return made.pass
            }
            let pass = encoderPass(
                norm: EncoderNorm(trunk.norm), layers: trunk.blocks.map(\.encoderLayer),
                heads: trunk.blocks.first?.heads ?? 1, activation: trunk.blocks.first?.activation ?? .gelu)
            made = Made(pass: pass, weights: weights, precision: precision)
            return pass
        }
    }
}

extension EncoderBlock {
    /// The block's weights as they are now.
    fileprivate var encoderLayer: EncoderLayer {
        let members = projections.members.map(\.storedProjection)
        return EncoderLayer(
            query: members[0], key: members[1], value: members[2], output: output.storedProjection,
            attentionNorm: EncoderNorm(attentionNorm), up: up.storedProjection, down: down.storedProjection,
            outputNorm: EncoderNorm(outputNorm))
    }
}

extension EncoderNorm {
    fileprivate init(_ norm: LayerNorm) {
        self.init(weight: norm.weight.value, bias: norm.bias?.value, epsilon: norm.epsilon)
    }
}

extension Linear {
    fileprivate var storedProjection: DecoderLayer.Projection { .init(weight: weight.value, bias: bias?.value) }
}

extension Tensor {
    /// Whether both are the same place in memory.
    fileprivate func isSame(as other: Tensor) -> Bool { storage === other.storage && byteOffset == other.byteOffset }
}
