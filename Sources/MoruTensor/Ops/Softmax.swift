extension Tensor {
    /// Softmax over the last dimension.
    public func softmax() -> Tensor {
        precondition(rank > 0, "softmax: a scalar has no last dimension")
        let backend = Runtime.shared.backend
        let y = backend.softmax(detached())
        return y.recording(self) { [backend.softmaxBackward($0, y: y)] }
    }

    /// The mean cross-entropy of logits [N, V] against target ids, in nats.
    ///
    /// - Parameter targets: N ids; a negative one is left out of the mean.
    /// - Returns: A scalar; 0 when every target is left out.
    public func crossEntropy(_ targets: [Int32]) -> Tensor {
        precondition(rank == 2, "crossEntropy: logits are [rows, classes], these are \(shape)")
        requireTargets(targets, rows: shape[0], classes: shape[1], "crossEntropy")
        let backend = Runtime.shared.backend
        let scale = 1 / Float(max(1, targets.count { $0 >= 0 }))
        let (losses, gradient) = backend.crossEntropy(
            detached(), targets: targets, scale: scale, wantsGradient: isTracked)
        return backend.scale(backend.sum(losses), by: scale).recording(self) { dy in
            [gradient.map { backend.scale($0, by: dy.scalar) }]
        }
    }
}

/// Rows of logits that ``linearCrossEntropy(_:_:_:)`` holds at a time.
private let crossEntropyChunk = 256

/// The summed cross-entropy of `hidden weight^T` against target ids, in nats, without ever holding all the logits.
///
/// The output projection of a language model is by far its largest activation. Logits are computed for some rows at a
/// time, turned at once into their gradient, and dropped.
///
/// - Parameters:
///   - hidden: [N, D].
///   - weight: [V, D], in any dtype; f32 to be trained.
///   - targets: N ids; a negative one is left out.
/// - Returns: A scalar, the sum over the targets that count.
public func linearCrossEntropy(_ hidden: Tensor, _ weight: Tensor, _ targets: [Int32]) -> Tensor {
    precondition(
        hidden.rank == 2 && weight.rank == 2 && hidden.shape[1] == weight.shape[1],
        "linearCrossEntropy: hidden \(hidden.shape) and weight \(weight.shape) do not fit")
    precondition(
        !weight.isTracked || weight.dtype == .f32, "linearCrossEntropy: a \(weight.dtype) weight cannot be trained")
    requireTargets(targets, rows: hidden.shape[0], classes: weight.shape[0], "linearCrossEntropy")
    let backend = Runtime.shared.backend
    let (x, w) = (hidden.detached(), weight.detached())
    let (wantsX, wantsW) = (hidden.isTracked, weight.isTracked)
    var total: Double = 0
    let dX = wantsX ? Tensor(uninitialized: x.shape) : nil
    var dW: Tensor?
    for begin in stride(from: 0, to: targets.count, by: crossEntropyChunk) {
        let rows = begin..<min(targets.count, begin + crossEntropyChunk)
        let chunk = x.rows(rows)
        let logits = backend.matmul(chunk, transposeA: false, w, transposeB: true, alpha: 1, adding: nil)
        let (losses, gradient) = backend.crossEntropy(
            logits, targets: Array(targets[rows]), scale: 1, wantsGradient: wantsX || wantsW)
        total += Double(backend.sum(losses).scalar)
        guard let gradient else { continue }
        if let dX {
            let part = backend.matmul(gradient, transposeA: false, w, transposeB: false, alpha: 1, adding: nil)
            (dX.floats + begin * x.shape[1]).update(from: part.floats, count: part.count)
        }
        if wantsW {
            dW = backend.matmul(gradient, transposeA: true, chunk, transposeB: false, alpha: 1, adding: dW)
        }
    }
    return Tensor(Float(total)).recording(hidden, weight) { dy in
        [dX.map { backend.scale($0, by: dy.scalar) }, dW.map { backend.scale($0, by: dy.scalar) }]
    }
}

private func requireTargets(_ targets: [Int32], rows: Int, classes: Int, _ operation: String) {
    precondition(targets.count == rows, "\(operation): \(targets.count) targets for \(rows) rows")
    precondition(targets.allSatisfy { $0 < classes }, "\(operation): a target lies outside the \(classes) classes")
}
