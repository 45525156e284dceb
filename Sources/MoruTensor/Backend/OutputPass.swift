/// What the output projection of a language model takes part in while its loss is computed: some rows at a time become
/// logits, these their gradient, and that the gradients of the rows and of the projection's weight [V, D].
public protocol OutputPass {
    /// The products [N, S] of rows [N, D] with the weight. Of the S columns those of the weight come first; what is in
    /// the others, if there are any, means nothing.
    func logits(_ rows: Tensor) -> Tensor
    /// Each row's negative log-likelihood of its target (0 for a negative target); where the gradient is wanted, the
    /// logits become theirs, `softmax - onehot`, in place.
    func crossEntropy(_ logits: inout Tensor, targets: [Int32], wantsGradient: Bool) -> Tensor
    /// Writes the gradient of rows, from that of their logits, to `result` [N, D], whoever holds it.
    func writeRowGradient(_ gradient: Tensor, to result: Tensor)
    /// Adds to the gradient of the weight, in f32, what comes of some rows; to zeros where there is none.
    func addWeightGradient(_ gradient: Tensor, _ rows: Tensor, to sum: inout Tensor?)
}
