import MoruTensor
import Synchronization

/// A named tensor of a model that can be trained.
///
/// Layers read ``tensor``, which is the plain value, except inside ``valueAndGradients(of:_:)``, where it is the
/// tracked copy. The caller thus decides which parameters are trained; nothing is stored in the model, which can serve
/// requests while an adapter for it is being trained.
public final class Parameter: Sendable {
    /// The parameter's name in the checkpoint, such as `model.layers.0.self_attn.q_proj.weight`.
    public let path: String
    private let current: Mutex<Tensor>
    private static let changes = Atomic<Int>(0)

    /// How often any parameter of the process has changed: a single number tells whether something derived from many
    /// parameters is still valid.
    package static var revision: Int { changes.load(ordering: .acquiring) }

    /// Makes a parameter.
    public init(_ path: String, _ value: Tensor) {
        self.path = path
        current = Mutex(value)
    }

    /// The value. Setting it keeps the shape.
    public var value: Tensor {
        get { current.withLock { $0 } }
        set {
            current.withLock { old in
                precondition(old.shape == newValue.shape, "\(path): \(newValue.shape) cannot replace \(old.shape)")
                old = newValue.detached()
            }
            Self.changes.add(1, ordering: .releasing)
        }
    }

    /// Changes the value in place; copies it only if the memory is shared.
    package func update(_ body: (inout Tensor) -> Void) {
        current.withLock { value in
            let shape = value.shape
            body(&value)
            precondition(value.shape == shape, "\(path): \(value.shape) cannot replace \(shape)")
        }
        Self.changes.add(1, ordering: .releasing)
    }

    /// The value; tracked if a gradient with respect to this parameter is being computed.
    public var tensor: Tensor { GradientScope.followed?.leaf(of: self) ?? value }
}

/// Parameters that gradients are being computed of.
private final class FollowedParameters: Sendable {
    let leaves: GradientLeaves
    private let indices: [ObjectIdentifier: Int]

    init(_ parameters: [Parameter]) {
        leaves = GradientLeaves(parameters.map(\.value))
        indices = Dictionary(
            parameters.enumerated().map { (ObjectIdentifier($1), $0) }, uniquingKeysWith: { first, _ in first })
    }

    /// The tracked copy of a parameter's value; nil for a parameter that is not followed.
    func leaf(of parameter: Parameter) -> Tensor? { indices[ObjectIdentifier(parameter)].map { leaves[$0] } }
}

private enum GradientScope {
    @TaskLocal static var followed: FollowedParameters?
}

/// Whether gradients of parameters are being computed.
package var followsParameters: Bool { GradientScope.followed != nil }

/// How the layers of a model keep the activations between products: as training does while gradients of parameters are
/// computed (``Runtime/activationType``), in f32 otherwise.
package var activationType: DType { followsParameters ? Runtime.shared.activationType : .f32 }

/// Evaluates a loss and its gradients with respect to parameters.
///
/// - Parameters:
///   - parameters: The parameters to differentiate by; their values must be f32.
///   - body: Computes a scalar.
/// - Returns: The loss, and for each parameter a gradient of its shape.
/// - Throws: What `body` throws.
public func valueAndGradients(
    of parameters: [Parameter], _ body: () throws -> Tensor
) rethrows -> (value: Tensor, gradients: [Tensor]) {
    var gradients = [Tensor?](repeating: nil, count: parameters.count)
    let value = try valueAndGradients(of: parameters, body) { gradients[$0] = $1 }
    return (value, gradients.compactMap { $0 })
}

/// Evaluates a loss, and hands over the gradient of each parameter as soon as it is complete, so that all of them need
/// never be in memory together: ``Optimizer/move(_:against:)`` may take it at once, since nothing reads the parameter any
/// more (Lv et al., 2023: LOMO).
///
/// - Parameters:
///   - parameters: The parameters to differentiate by; their values must be f32.
///   - body: Computes a scalar.
///   - whenComplete: Called once for each parameter, by its number, with a gradient of its shape.
/// - Returns: The loss.
/// - Throws: What `body` or `whenComplete` throws; what had been handed over by then stays as it was left.
@discardableResult
public func valueAndGradients(
    of parameters: [Parameter], _ body: () throws -> Tensor,
    whenComplete: (_ index: Int, _ gradient: Tensor) throws -> Void
) rethrows -> Tensor {
    let followed = FollowedParameters(parameters)
    return try valueAndGradients(at: followed.leaves) {
        try GradientScope.$followed.withValue(followed, operation: body)
    } whenComplete: {
        try whenComplete($0, $1)
    }
}

/// Evaluates a part of a model without keeping its activations; see ``MoruTensor/recomputed(_:_:)``.
///
/// - Parameter dropout: The source of the part's dropout, which gives the same masks both times.
public func recomputed(
    _ inputs: [Tensor], dropout: DropoutSource?, _ body: @escaping ([Tensor]) -> [Tensor]
) -> [Tensor] {
    guard let followed = GradientScope.followed else { return body(inputs) }
    let begin = dropout?.state
    return recomputed(inputs) { inputs in
        // The gradients are taken outside the scope in which the part was recorded
        let isAgain = GradientScope.followed == nil
        let end = dropout?.state
        if isAgain, let dropout, let begin { dropout.state = begin }
        defer { if isAgain, let dropout, let end { dropout.state = end } }
        return GradientScope.$followed.withValue(followed) { body(inputs) }
    }
}
