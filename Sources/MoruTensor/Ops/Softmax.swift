extension Tensor {
    /// Softmax over the last dimension.
    public func softmax() -> Tensor {
        precondition(rank > 0, "softmax: a scalar has no last dimension")
        guard dtype == .f32 else { return promoted().softmax() }
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
        guard dtype == .f32 else { return promoted().crossEntropy(targets) }
        requireTargets(targets, rows: shape[0], classes: shape[1], "crossEntropy")
        let backend = Runtime.shared.backend
        let scale = 1 / Float(max(1, targets.count { $0 >= 0 }))
        var logits = detached()
        let losses = backend.crossEntropy(&logits, targets: targets, scale: scale, wantsGradient: isTracked)
        let gradient = LastUse(logits)
        return backend.scale(backend.sum(losses), by: scale).recording(self) { [gradient.take().scaled(by: $0)] }
    }
}

/// Bytes of logits that ``linearCrossEntropy(_:_:_:_:)`` holds at most at a time.
private let logitsBudget = 64 << 20

/// Rows that the output projection is computed for at a time. The fewer, the oftener the weight and its gradient are
/// read and written anew; from about as many as a row has elements, that is little beside the logits themselves.
private func rowsAtOnce(_ weight: Tensor) -> Int {
    let most = logitsBudget / (MemoryLayout<Float>.stride * max(1, weight.shape[0])) / 64 * 64
    return max(64, min(most, max(256, weight.shape[1])))
}

/// The summed cross-entropy of `hidden weight^T` against target ids, in nats, without ever holding all the logits.
///
/// The output projection of a language model is by far its largest activation. Logits are computed for some rows at a
/// time, turned at once into their gradient, and dropped.
///
/// - Parameters:
///   - hidden: [N, D].
///   - weight: [V, D], in any dtype; f32 to be trained.
///   - targets: N ids; a negative one is left out.
///   - transform: What becomes of the products before they are logits.
/// - Returns: A scalar, the sum over the targets that count.
public func linearCrossEntropy(
    _ hidden: Tensor, _ weight: Tensor, _ targets: [Int32], _ transform: LogitTransform = .none
) -> Tensor {
    precondition(
        hidden.rank == 2 && weight.rank == 2 && hidden.shape[1] == weight.shape[1],
        "linearCrossEntropy: hidden \(hidden.shape) and weight \(weight.shape) do not fit")
    precondition(
        !weight.isTracked || weight.dtype == .f32, "linearCrossEntropy: a \(weight.dtype) weight cannot be trained")
    requireTargets(targets, rows: hidden.shape[0], classes: weight.shape[0], "linearCrossEntropy")
    let backend = Runtime.shared.backend
    let hidden = transform.scaling(hidden)
    let (x, w) = (hidden.detached(), weight.detached())
    let (wantsX, wantsW) = (hidden.isTracked, weight.isTracked)
    var total: Double = 0
    let dX = wantsX ? Tensor(uninitialized: x.shape) : nil
    var dW: Tensor?
    // In equal steps: a small last one would cost as much for the weight as a large one
    let most = rowsAtOnce(w)
    let steps = max(1, (targets.count + most - 1) / most)
    let step = max(64, ((targets.count + steps - 1) / steps + 63) / 64 * 64)
    let pass = backend.outputPass(w, isRepeated: step < targets.count)
    for begin in stride(from: 0, to: targets.count, by: step) {
        let rows = begin..<min(targets.count, begin + step)
        let chunk = x.rows(rows)
        var logits = pass.logits(chunk)
        // Held by nobody else, so that the gradient takes their place
        if transform.softcap != nil { logits = transform.capping(logits, backend) }
        // The slope of a cap is found from the logits, which then must outlive the loss
        let capped = transform.softcap.map { _ in logits }
        let losses = pass.crossEntropy(&logits, targets: Array(targets[rows]), wantsGradient: wantsX || wantsW)
        total += Double(backend.sum(losses).scalar)
        if let capped, wantsX || wantsW { logits = transform.uncapping(logits, of: capped, backend) }
        if let dX { pass.writeRowGradient(logits, to: dX.rows(rows)) }
        if wantsW { pass.addWeightGradient(logits, chunk, to: &dW) }
    }
    let (gradientX, gradientW) = (LastUse(dX), LastUse(dW))
    return Tensor(Float(total)).recording(hidden, weight) {
        [gradientX.take()?.scaled(by: $0), gradientW.take()?.scaled(by: $0)]
    }
}

extension Tensor {
    /// A gradient that was computed ahead, times that of the loss; in place where nobody else holds it.
    fileprivate consuming func scaled(by factor: Tensor) -> Tensor {
        Runtime.shared.backend.scale(&self, by: factor.scalar)
        return self
    }
}

private func requireTargets(_ targets: [Int32], rows: Int, classes: Int, _ operation: String) {
    precondition(targets.count == rows, "\(operation): \(targets.count) targets for \(rows) rows")
    precondition(targets.allSatisfy { $0 < classes }, "\(operation): a target lies outside the \(classes) classes")
}
