import Synchronization

/// The inputs of a gradient computation: copies of tensors that it follows, each held until its gradient is complete.
///
/// From then on nothing of the computation reads the tensor any more, and whoever holds it alone may write it.
package final class GradientLeaves: Sendable {
    let nodes: [GradientNode]
    let shapes: [[Int]]
    private let tensors: Mutex<[Tensor?]>

    /// Makes leaves of f32 tensors.
    package init(_ inputs: [Tensor]) {
        let nodes = inputs.map { _ in GradientNode() }
        self.nodes = nodes
        shapes = inputs.map(\.shape)
        tensors = Mutex(zip(inputs, nodes).map { $0.detached().with(node: $1) })
    }

    /// The followed copy of an input, whose gradient must not be complete yet.
    package subscript(index: Int) -> Tensor {
        guard let leaf = tensors.withLock({ $0[index] }) else {
            preconditionFailure("a tensor \(shapes[index]) is read after its gradient was complete")
        }
        return leaf
    }

    fileprivate func release(_ index: Int) { tensors.withLock { $0[index] = nil } }
}

/// Evaluates a scalar function and hands over the gradient of each leaf as soon as it is complete: when the backward pass
/// has gone through the first use of the leaf, which it comes to last.
///
/// - Parameters:
///   - leaves: What to differentiate by.
///   - body: Computes a scalar from the leaves.
///   - whenComplete: Takes a gradient of the shape of the leaf with that number; each is called with once, zeros where the
///     value does not depend on the leaf. The leaf is released, so that its tensor may be written.
/// - Returns: The value.
/// - Throws: What `body` or `whenComplete` throws.
package func valueAndGradients(
    at leaves: GradientLeaves, _ body: () throws -> Tensor,
    whenComplete: (_ index: Int, _ gradient: Tensor) throws -> Void
) rethrows -> Tensor {
    let value = try body()
    precondition(value.count == 1, "gradients need a scalar, the function returned shape \(value.shape)")
    // What was recorded before the leaves were made cannot depend on them: it belongs to an outer computation
    let first = leaves.nodes.map(\.number).min() ?? Int.max
    let indices = Dictionary(
        leaves.nodes.enumerated().map { (ObjectIdentifier($1), $0) }, uniquingKeysWith: { first, _ in first })
    var isMissing = leaves.nodes.map { _ in true }
    let seed = Tensor.filled(1, value.shape)
    try backpropagate(from: [(value, seed)], to: leaves.nodes, since: first) { node, gradient in
        guard let index = indices[ObjectIdentifier(node)] else { return }
        isMissing[index] = false
        leaves.release(index)
        try whenComplete(index, gradient)
    }
    for index in isMissing.indices where isMissing[index] {
        leaves.release(index)
        try whenComplete(index, .zeros(leaves.shapes[index]))
    }
    return value.detached()
}
