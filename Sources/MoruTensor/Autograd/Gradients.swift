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
    let leaves = GradientLeaves(inputs)
    var gradients = [Tensor?](repeating: nil, count: inputs.count)
    let value = try valueAndGradients(at: leaves) {
        try body(inputs.indices.map { leaves[$0] })
    } whenComplete: {
        gradients[$0] = $1
    }
    return (value, gradients.compactMap { $0 })
}

/// Walks the recorded operations from the last to the first and sums what reaches each node.
///
/// - Parameters:
///   - values: Where to begin, with the gradients of these tensors.
///   - leaves: Nodes from which nothing is passed on.
///   - first: Nodes with smaller numbers are left alone, except that leaves get their gradients.
///   - whenComplete: Takes the gradient of a leaf once nothing more will arrive there; not called where nothing arrived.
/// - Throws: What `whenComplete` throws.
func backpropagate(
    from values: [(tensor: Tensor, gradient: Tensor)], to leaves: [GradientNode], since first: Int,
    whenComplete: (_ leaf: GradientNode, _ gradient: Tensor) throws -> Void
) rethrows {
    var pending: [ObjectIdentifier: Tensor] = [:]
    var roots: [GradientNode] = []
    for (tensor, gradient) in values {
        guard let root = tensor.node, root.number >= first else { continue }
        GradientPart.whole(gradient).add(to: &pending[ObjectIdentifier(root)])
        roots.append(root)
    }
    let ends = Set(leaves.map(ObjectIdentifier.init))
    let nodes = reachableNodes(from: roots, since: first).filter { !ends.contains(ObjectIdentifier($0)) }
    var lastUses: [ObjectIdentifier: Int] = [:]
    for (position, node) in nodes.enumerated() {
        for case let input? in node.inputs where ends.contains(ObjectIdentifier(input)) {
            lastUses[ObjectIdentifier(input)] = position
        }
    }
    var completed = Dictionary(grouping: leaves) { lastUses[ObjectIdentifier($0)] ?? nodes.count }
    func complete(_ position: Int) throws {
        for leaf in completed.removeValue(forKey: position) ?? [] {
            if let gradient = pending.removeValue(forKey: ObjectIdentifier(leaf)) { try whenComplete(leaf, gradient) }
        }
    }
    for (position, node) in nodes.enumerated() {
        if let gradient = pending.removeValue(forKey: ObjectIdentifier(node)) {
            for (input, part) in node.propagate(gradient) ?? []
            where input.number >= first || ends.contains(ObjectIdentifier(input)) {
                part.add(to: &pending[ObjectIdentifier(input)])
            }
        }
        try complete(position)
    }
    try complete(nodes.count)
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
