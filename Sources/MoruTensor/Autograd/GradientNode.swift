import Synchronization

/// One step of a gradient computation: which nodes an operation's inputs came from, and its backward rule.
///
/// Unchecked: who records an operation makes its node, and after that only the backward pass changes it, which runs on
/// the thread that takes the gradients.
final class GradientNode: @unchecked Sendable {
    /// Gradients of the inputs, given the gradient of the output; nil where an input needs none.
    typealias BackwardRule = (Tensor) -> [Tensor?]
    /// The same in parts.
    typealias PartialRule = (Tensor) -> [GradientPart?]

    /// Later operations have larger numbers, which is the order that the backward pass needs.
    let number: Int
    private(set) var inputs: [GradientNode?]
    private var backward: PartialRule?
    private let isLeaf: Bool
    /// Computes the node's tensor once more, to the bit, where that costs little; nil where it must be kept.
    var again: (() -> Tensor)?
    /// Whether the memory of the node's tensor is kept for a gradient whatever happens.
    var isKept = false

    private static let counter = Atomic<Int>(0)

    init(inputs: [GradientNode?] = [], backward: PartialRule? = nil) {
        number = Self.counter.add(1, ordering: .relaxed).newValue
        self.inputs = inputs
        self.backward = backward
        isLeaf = backward == nil
    }

    /// The gradients that reach the inputs, or nil for a leaf.
    ///
    /// The rule and the links to the inputs are dropped, so that what they hold is freed while the backward pass runs,
    /// and a long chain of nodes is not freed by recursion.
    func propagate(_ gradient: Tensor) -> [(input: GradientNode, part: GradientPart)]? {
        if isLeaf { return nil }
        guard let rule = backward else { preconditionFailure("gradients were taken through this tensor before") }
        let inputs = inputs
        backward = nil
        self.inputs = []
        again = nil
        return zip(inputs, rule(gradient)).compactMap { input, part in
            if let input, let part { (input, part) } else { nil }
        }
    }
}

extension Tensor {
    /// Records how this tensor was made, if any of the inputs is followed by a gradient computation.
    ///
    /// The rule is called at most once, with a gradient of this tensor's shape.
    func recording(_ inputs: Tensor..., rule: @escaping GradientNode.BackwardRule) -> Tensor {
        recording(inputs, rule: rule)
    }

    /// Records how this tensor was made; see above.
    func recording(_ inputs: [Tensor], rule: @escaping GradientNode.BackwardRule) -> Tensor {
        recording(inputs) { dy -> [GradientPart?] in rule(dy).map { $0.map { .whole($0) } } }
    }

    /// Records how this tensor was made, by a rule that adds to gradients; see above.
    func recording(_ inputs: [Tensor], rule: @escaping GradientNode.PartialRule) -> Tensor {
        guard inputs.contains(where: { $0.isTracked }) else { return self }
        return with(node: GradientNode(inputs: inputs.map(\.node), backward: rule))
    }
}
