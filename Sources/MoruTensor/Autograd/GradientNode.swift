import Synchronization

/// One step of a gradient computation: which nodes an operation's inputs came from, and its backward rule.
final class GradientNode: @unchecked Sendable {
    /// Gradients of the inputs, given the gradient of the output; nil where an input needs none.
    typealias BackwardRule = (Tensor) -> [Tensor?]

    /// Later operations have larger numbers, which is the order that the backward pass needs.
    let number: Int
    let inputs: [GradientNode?]
    /// Dropped once used, so that what it captured is freed while the backward pass runs.
    var backward: BackwardRule?

    private static let counter = Atomic<Int>(0)

    init(inputs: [GradientNode?] = [], backward: BackwardRule? = nil) {
        number = Self.counter.add(1, ordering: .relaxed).newValue
        self.inputs = inputs
        self.backward = backward
    }
}

extension Tensor {
    /// Records how this tensor was made, if any of the inputs is followed by a gradient computation.
    ///
    /// The rule is called at most once, with a gradient of this tensor's shape.
    func recording(_ inputs: Tensor..., rule: @escaping GradientNode.BackwardRule) -> Tensor {
        guard inputs.contains(where: { $0.isTracked }) else { return self }
        return with(node: GradientNode(inputs: inputs.map(\.node), backward: rule))
    }
}
