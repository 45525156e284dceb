import MoruTensor
import Synchronization

/// What the routers of a mixture of experts say during one forward pass, layer by layer.
public final class RoutingRecord: Sendable {
    private let all = Mutex<[Tensor]>([])

    /// An empty record.
    public init() {}

    /// The routers' logits, [N, E] each.
    public var logits: [Tensor] { all.withLock { $0 } }

    func append(_ logits: Tensor) { all.withLock { $0.append(logits) } }
}

/// What evens out the choices of routers in training: the load-balancing loss, and its weight beside the mean loss of
/// the targets.
public struct RouterLoss: Sendable, Hashable {
    /// The factor.
    public var weight: Float
    /// How the routers choose.
    public var options: RoutingOptions

    /// The weighted loss of a forward pass, a scalar; nil where no router said anything.
    public func callAsFunction(_ record: RoutingRecord) -> Tensor? {
        let logits = record.logits
        return logits.isEmpty ? nil : loadBalancingLoss(logits, options) * weight
    }
}
