/// Evaluates a scalar function and its gradients with respect to each of its inputs (reverse-mode differentiation).
///
/// - Parameters:
///   - inputs: f32 tensors.
///   - body: Computes a scalar from followed copies of the inputs.
/// - Returns: The value, and for each input a gradient of its shape (zeros where the value does not depend on it).
/// - Throws: What `body` throws.
public func valueAndGradients(
    at inputs: [Tensor], _ body: ([Tensor]) throws -> Tensor
) rethrows -> (value: Tensor, gradients: [Tensor]) {
    let leaves = inputs.map { $0.detached().with(node: GradientNode()) }
    let value = try body(leaves)
    precondition(value.count == 1, "gradients need a scalar, the function returned shape \(value.shape)")
    let gradients = backpropagate(from: value, to: leaves)
    return (value.detached(), gradients)
}

/// Walks the recorded operations from the last to the first and sums what reaches each leaf.
private func backpropagate(from value: Tensor, to leaves: [Tensor]) -> [Tensor] {
    var pending: [ObjectIdentifier: Tensor] = [:]
    // What was recorded before the leaves were made cannot depend on them: it belongs to an outer computation
    let first = leaves.compactMap { $0.node?.number }.min() ?? Int.max
    if let root = value.node, root.number >= first {
        pending[ObjectIdentifier(root)] = Tensor.filled(1, value.shape)
        let leafNodes = Set(leaves.compactMap { $0.node.map(ObjectIdentifier.init) })
        for node in reachableNodes(from: root, since: first) where !leafNodes.contains(ObjectIdentifier(node)) {
            guard let gradient = pending.removeValue(forKey: ObjectIdentifier(node)) else { continue }
            for (input, part) in node.propagate(gradient) ?? [] where input.number >= first {
                let key = ObjectIdentifier(input)
                pending[key] = pending[key].map { $0 + part } ?? part
            }
        }
    }
    return leaves.map { leaf in
        leaf.node.flatMap { pending[ObjectIdentifier($0)] } ?? Tensor.zeros(leaf.shape)
    }
}

/// The nodes numbered from `first` on that lead to `root`, the latest first.
private func reachableNodes(from root: GradientNode, since first: Int) -> [GradientNode] {
    var seen: Set<ObjectIdentifier> = [ObjectIdentifier(root)]
    var found = [root]
    var position = 0
    while position < found.count {
        for case let input? in found[position].inputs
        where input.number >= first && seen.insert(ObjectIdentifier(input)).inserted {
            found.append(input)
        }
        position += 1
    }
    return found.sorted { $0.number > $1.number }
}
