/// Scaled dot-product attention within segments of rows (Vaswani et al., 2017), grouped-query aware.
///
/// Rows of different segments never see each other, so several sequences share a batch without padding.
///
/// - Parameters:
///   - q: [N, H, D].
///   - k: [N, Hkv, D], where Hkv divides H.
///   - v: [N, Hkv, D].
///   - segments: Ranges of rows that cover 0 ..< N in order; positions begin at 0 in each.
/// - Returns: [N, H, D].
public func scaledDotProductAttention(
    q: Tensor, k: Tensor, v: Tensor, segments: [Range<Int>], _ options: AttentionOptions
) -> Tensor {
    precondition(
        q.rank == 3 && k.rank == 3 && k.shape == v.shape && q.shape[0] == k.shape[0] && q.shape[2] == k.shape[2]
            && k.shape[1] > 0 && q.shape[1] % k.shape[1] == 0,
        "attention: q \(q.shape), k \(k.shape) and v \(v.shape) do not fit")
    precondition(
        segments.first?.lowerBound ?? 0 == 0 && segments.last?.upperBound ?? 0 == q.shape[0]
            && zip(segments, segments.dropFirst()).allSatisfy { $0.upperBound == $1.lowerBound },
        "attention: the segments do not cover the \(q.shape[0]) rows in order")
    requireOptions(options)
    guard q.dtype == k.dtype && k.dtype == v.dtype else {
        return scaledDotProductAttention(
            q: q.promoted(), k: k.promoted(), v: v.promoted(), segments: segments, options)
    }
    let backend = Runtime.shared.backend
    let (x, y, z) = (q.detached(), k.detached(), v.detached())
    let (out, logSumExp) = backend.attention(q: x, k: y, v: z, segments: segments, options)
    return out.recording(q, k, v) { dOut in
        let gradients = backend.attentionBackward(
            dOut, q: x, k: y, v: z, out: out, logSumExp: logSumExp, segments: segments, options)
        return [gradients.q, gradients.k, gradients.v]
    }
}

/// Attention of new rows over their sequences' caches; for inference only, since it has no backward rule.
///
/// The keys and values of the rows themselves must be stored already.
///
/// - Parameters:
///   - q: [N, H, D].
///   - runs: Rows that cover 0 ..< N in order, each with the cache of its sequence.
/// - Returns: [N, H, D].
public func cachedAttention(q: Tensor, runs: [CachedAttentionRun], _ options: AttentionOptions) -> Tensor {
    precondition(!q.isTracked, "cachedAttention has no backward rule: use scaledDotProductAttention to train")
    precondition(q.rank == 3, "cachedAttention: q is [rows, heads, headDim], this one is \(q.shape)")
    requireOptions(options)
    let (heads, headDim) = (q.shape[1], q.shape[2])
    var next = 0
    for run in runs {
        precondition(run.rows.lowerBound == next, "cachedAttention: the runs do not cover the rows in order")
        next = run.rows.upperBound
        let kvHeads = run.cache.rowElements / max(1, headDim)
        precondition(
            kvHeads > 0 && kvHeads * headDim == run.cache.rowElements && heads % kvHeads == 0,
            "cachedAttention: q \(q.shape) does not fit a cache of \(run.cache.rowElements) elements a token")
        precondition(
            run.firstPosition >= 0 && run.firstPosition + run.rows.count <= run.cache.capacity,
            "cachedAttention: the keys of the rows \(run.rows) are not stored")
    }
    precondition(next == q.shape[0], "cachedAttention: the runs cover \(next) of \(q.shape[0]) rows")
    return Runtime.shared.backend.cachedAttention(q: q, runs: runs, options)
}

private func requireOptions(_ options: AttentionOptions) {
    precondition(options.window ?? 1 > 0, "attention: a window of \(options.window ?? 0) positions sees nothing")
    precondition(options.softcap ?? 1 > 0, "attention: a cap of \(options.softcap ?? 0) is not positive")
}
