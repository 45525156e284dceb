/// Evaluates a part of a computation without keeping its activations: when its gradients are needed, it is evaluated
/// again (Chen et al., 2016). Costs another forward pass of the part, and saves all the memory in between.
///
/// Both evaluations must give the same; whoever draws random numbers in `body` must draw the same ones again.
///
/// - Parameters:
///   - inputs: What the part computes from. It may use other followed tensors too.
///   - body: The part.
/// - Returns: The part's results.
public func recomputed(_ inputs: [Tensor], _ body: @escaping ([Tensor]) -> [Tensor]) -> [Tensor] {
    func record() -> (leaves: [Tensor], results: [Tensor], first: Int) {
        // A leaf of its own marks where this part begins, even where no input is followed
        let start = GradientNode()
        let leaves = inputs.map { $0.isTracked ? $0.detached().with(node: GradientNode()) : $0.detached() }
        return (leaves, body(leaves), start.number)
    }
    let once = record()
    let outer = outerNodes(of: once.results, since: once.first)
    let inputNodes = inputs.map(\.node)
    return once.results.map { $0.detached() }.recordingTogether(nodes: inputNodes + outer) { gradients in
        let again = record()
        let leaves = again.leaves.map(\.node)
        let seeds = zip(again.results, gradients).compactMap { result, gradient in gradient.map { (result, $0) } }
        var arrived: [ObjectIdentifier: Tensor] = [:]
        backpropagate(from: seeds, to: leaves.compactMap { $0 } + outer, since: again.first) {
            arrived[ObjectIdentifier($0)] = $1
        }
        return (leaves + outer).map { node in node.flatMap { arrived[ObjectIdentifier($0)] } }
    }
}
