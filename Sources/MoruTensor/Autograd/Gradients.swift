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
    // What was recorded before the leaves were made cannot depend on them: it belongs to an outer computation
    let first = leaves.compactMap { $0.node?.number }.min() ?? Int.max
    var pending = backpropagate(
        from: [(value, Tensor.filled(1, value.shape))], to: leaves.compactMap(\.node), since: first)
    let gradients = leaves.map { leaf in
        leaf.node.flatMap { pending.removeValue(forKey: ObjectIdentifier($0)) } ?? Tensor.zeros(leaf.shape)
    }
    return (value.detached(), gradients)
}

/// Walks the recorded operations from the last to the first and sums what reaches each node.
///
/// - Parameters:
///   - values: Where to begin, with the gradients of these tensors.
///   - leaves: Nodes from which nothing is passed on.
///   - first: Nodes with smaller numbers are left alone, except that leaves get their gradients.
/// - Returns: The gradients of the leaves that any arrived at, by the identity of their nodes.
func backpropagate(
    from values: [(tensor: Tensor, gradient: Tensor)], to leaves: [GradientNode], since first: Int
) -> [ObjectIdentifier: Tensor] {
    var pending: [ObjectIdentifier: Tensor] = [:]
    var roots: [GradientNode] = []
    for (tensor, gradient) in values {
        guard let root = tensor.node, root.number >= first else { continue }
        GradientPart.whole(gradient).add(to: &pending[ObjectIdentifier(root)])
        roots.append(root)
    }
    let ends = Set(leaves.map(ObjectIdentifier.init))
    for node in reachableNodes(from: roots, since: first) where !ends.contains(ObjectIdentifier(node)) {
        guard let gradient = pending.removeValue(forKey: ObjectIdentifier(node)) else { continue }
        for (input, part) in node.propagate(gradient) ?? []
        where input.number >= first || ends.contains(ObjectIdentifier(input)) {
            part.add(to: &pending[ObjectIdentifier(input)])
        }
    }
    return pending
}

/// The nodes numbered from `first` on that lead to the roots, the latest first.
private func reachableNodes(from roots: [GradientNode], since first: Int) -> [GradientNode] {
    var seen: Set<ObjectIdentifier> = []
    var found = roots.filter { seen.insert(ObjectIdentifier($0)).inserted }
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

/// The nodes numbered below `first` that tensors were made from.
func outerNodes(of tensors: [Tensor], since first: Int) -> [GradientNode] {
    var seen: Set<ObjectIdentifier> = []
    var outer: [GradientNode] = []
    for node in reachableNodes(from: tensors.compactMap(\.node).filter { $0.number >= first }, since: first) {
        for case let input? in node.inputs where input.number < first && seen.insert(ObjectIdentifier(input)).inserted {
            outer.append(input)
        }
    }
    return outer
}
