extension [Tensor] {
    /// Records how several tensors were made together, if any of the inputs is followed by a gradient computation.
    ///
    /// - Parameter rule: Called at most once, with the gradients of these tensors; nil where none arrived.
    func recordingTogether(
        _ inputs: [Tensor], rule: @escaping (_ gradients: [Tensor?]) -> [Tensor?]
    ) -> [Tensor] {
        recordingTogether(nodes: inputs.map(\.node), rule: rule)
    }

    /// Records how several tensors were made together from the tensors of some nodes; see above.
    func recordingTogether(
        nodes: [GradientNode?], rule: @escaping (_ gradients: [Tensor?]) -> [Tensor?]
    ) -> [Tensor] {
        guard nodes.contains(where: { $0 != nil }) else { return self }
        // The results leave their gradients with one node, whose own gradient says only that there are some
        let gradients = JointGradients(count: count)
        let node = GradientNode(inputs: nodes) { _ in rule(gradients.take()).map { $0.map { .whole($0) } } }
        let join = Tensor(0).with(node: node)
        return enumerated().map { index, result in
            result.recording(join) { dy in
                gradients.put(dy, at: index)
                return [Tensor(0)]
            }
        }
    }
}

/// The gradients of results that were made together, as far as there are any yet.
private final class JointGradients {
    private var parts: [Tensor?]

    init(count: Int) { parts = Array(repeating: nil, count: count) }

    func put(_ gradient: Tensor, at index: Int) { parts[index] = gradient }

    /// Hands the gradients over, so that they are freed once they are used.
    func take() -> [Tensor?] {
        defer { parts = [] }
        return parts
    }
}
