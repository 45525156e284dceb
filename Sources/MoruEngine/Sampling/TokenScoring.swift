import MoruTensor

/// The log-probability of a token in each row of logits, and the likeliest alternatives there.
///
/// - Parameters:
///   - logits: [N, V].
///   - tokens: N ids.
///   - top: How many alternatives.
package func scores(_ logits: Tensor, _ tokens: [Int32], top: Int) -> [TokenScore] {
    guard !tokens.isEmpty else { return [] }
    let width = logits.shape[1]
    var read = logits
    let losses = Runtime.shared.backend.crossEntropy(&read, targets: tokens, scale: 1, wantsGradient: false)
    let lossValues = losses.values()
    return logits.withFloats { all in
        tokens.enumerated().map { row, token in
            let values = UnsafeBufferPointer(rebasing: all[row * width..<(row + 1) * width])
            let logProbability = -lossValues[row]
            // log p(i) = logit(i) - logSumExp, and the token's own pair gives the latter
            let logSumExp = values[Int(token)] - logProbability
            let alternatives = largest(top, of: values).map {
                TokenProbability(id: Int32($0.index), logProbability: min(0, $0.value - logSumExp))
            }
            return TokenScore(id: token, logProbability: min(0, logProbability), top: alternatives)
        }
    }
}
