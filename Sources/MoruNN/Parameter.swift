import MoruTensor
import Synchronization

/// A named tensor of a model that training may move.
///
/// Layers read ``tensor``, which is the plain value, except inside ``valueAndGradients(of:_:)``, where it is the
/// followed copy. Which parameters move is thus decided by the caller, never stored in the model, and a model can
/// serve while an adapter of it is being trained.
public final class Parameter: Sendable {
    /// The parameter's name in the checkpoint, such as `model.layers.0.self_attn.q_proj.weight`.
    public let path: String
    private let current: Mutex<Tensor>

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
        }
    }

    /// Changes the value in place: without a copy, unless somebody else holds the same memory.
    package func update(_ body: (inout Tensor) -> Void) {
        current.withLock { value in
            let shape = value.shape
            body(&value)
            precondition(value.shape == shape, "\(path): \(value.shape) cannot replace \(shape)")
        }
    }

    /// The value, followed where a gradient with respect to this parameter is being computed.
    public var tensor: Tensor {
        if let leaves = GradientScope.leaves, let leaf = leaves[ObjectIdentifier(self)] { return leaf }
        return value
    }
}

private enum GradientScope {
    @TaskLocal static var leaves: [ObjectIdentifier: Tensor]?
}

/// Evaluates a loss and its gradients with respect to parameters.
///
/// - Parameters:
///   - parameters: The parameters that move; their values must be f32.
///   - body: Computes a scalar.
/// - Returns: The loss, and for each parameter a gradient of its shape.
/// - Throws: What `body` throws.
public func valueAndGradients(
    of parameters: [Parameter], _ body: () throws -> Tensor
) rethrows -> (value: Tensor, gradients: [Tensor]) {
    try valueAndGradients(at: parameters.map(\.value)) { leaves in
        let byParameter = Dictionary(
            zip(parameters.map(ObjectIdentifier.init), leaves), uniquingKeysWith: { first, _ in first })
        return try GradientScope.$leaves.withValue(byParameter, operation: body)
    }
}
