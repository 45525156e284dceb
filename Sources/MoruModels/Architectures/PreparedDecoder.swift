import MoruNN
import MoruTensor
import Synchronization

/// The pass of a decoder's layers, made when it is first needed and again when any parameter has got another value.
final class PreparedDecoder: Sendable {
    private struct Made {
        let pass: any DecoderPass
        let revision: Int
    }

    private let made = Mutex<Made?>(nil)

    /// Keeps nothing, so that weights that are about to change can do so in place.
    func forget() { made.withLock { $0 = nil } }

    /// The pass of these layers, which are asked for where they may have changed.
    func pass(_ layers: () -> [DecoderLayer]) -> any DecoderPass {
        guard !followsParameters else { return decoderPass(layers()) }
        // Asked for before the layers: what changes while they are read is seen the next time
        let revision = Parameter.revision
        return made.withLock { made in
            if let made, made.revision == revision { return made.pass }
            let pass = decoderPass(layers())
            made = Made(pass: pass, revision: revision)
            return pass
        }
    }
}

extension Linear {
    /// The layer's weights as they are now.
    ///
    /// - Parameter place: Where low-rank updates find it, if any do.
    func projection(at place: Int? = nil) -> DecoderLayer.Projection {
        .init(weight: weight.tensor, bias: bias?.tensor, place: place)
    }
}
