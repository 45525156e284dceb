import MoruNN
import MoruTensor

extension TokenBatch {
    /// The rows that a model's first layer sees, and the batch that they are of: the embeddings of the tokens, with the
    /// vectors of prompt tuning before each sequence that begins here.
    ///
    /// A model passes the batch on to its layers in place of this one, and leaves the virtual rows out of its result
    /// with ``tokenRows(of:)``.
    public func embedded(by table: Embedding) -> (x: Tensor, batch: TokenBatch) {
        guard segments.contains(where: { $0.softPrompt != nil }) else { return (table(tokens), self) }
        var batch = TokenBatch()
        (batch.dropout, batch.routing, batch.observer) = (dropout, routing, observer)
        batch.showsVirtualRows = showsVirtualRows
        var parts: [Tensor] = []
        for segment in segments {
            let prompt = segment.softPrompt
            if let prompt { parts.append(prompt) }
            parts.append(table(Array(tokens[segment.rows])))
            let virtual = prompt?.shape[0] ?? 0
            // Nothing looks at the ids of virtual rows
            batch.append(
                Array(repeating: 0, count: virtual) + tokens[segment.rows], firstPosition: segment.firstPosition,
                cache: segment.cache, adapter: segment.adapter, virtualRows: virtual, types: segment.types)
        }
        return (Tensor.concatenated(parts), batch)
    }

    /// The rows of `x` that belong to tokens; all where the batch asks for the virtual ones too.
    public func tokenRows(of x: Tensor) -> Tensor {
        guard !showsVirtualRows, segments.contains(where: { $0.virtualRows > 0 }) else { return x }
        return Tensor.concatenated(
            segments.map { x.rows($0.rows.lowerBound + $0.virtualRows..<$0.rows.upperBound) })
    }

    /// Where each segment lies in what a model makes of the batch: with the vectors of prompt tuning before it where the
    /// batch asks for them.
    var resultSegments: [Range<Int>] {
        guard showsVirtualRows else { return segments.map(\.rows) }
        var end = 0
        return segments.map { segment in
            let begin = end
            end += (segment.softPrompt?.shape[0] ?? 0) + segment.rows.count
            return begin..<end
        }
    }

    /// Attention within each segment and over the prefix that its adapter puts before it.
    ///
    /// The prefixes become rows of keys and values; the queries there are zeros, and what they give is dropped.
    func attendAfterPrefixes(q: Tensor, k: Tensor, v: Tensor, layer: Int, _ options: AttentionOptions) -> Tensor {
        let (kvHeads, headDim) = (k.shape[1], k.shape[2])
        var parts: (q: [Tensor], k: [Tensor], v: [Tensor]) = ([], [], [])
        var (extended, own): ([Range<Int>], [Range<Int>]) = ([], [])
        for segment in segments {
            let begin = extended.last?.upperBound ?? 0
            var virtual = 0
            let virtualTokens = segment.adapter?.virtualTokens
            if let prefix = virtualTokens?.prefix(layer: layer, kvHeads: kvHeads, headDim: headDim) {
                virtual = prefix.keys.shape[0]
                parts.q.append(.zeros([virtual, q.shape[1], headDim]))
                parts.k.append(prefix.keys)
                parts.v.append(prefix.values)
            }
            parts.q.append(q.rows(segment.rows))
            parts.k.append(k.rows(segment.rows))
            parts.v.append(v.rows(segment.rows))
            extended.append(begin..<begin + virtual + segment.rows.count)
            own.append(begin + virtual..<begin + virtual + segment.rows.count)
        }
        let out = scaledDotProductAttention(
            q: .concatenated(parts.q), k: .concatenated(parts.k), v: .concatenated(parts.v), segments: extended,
            options)
        return Tensor.concatenated(own.map { out.rows($0) })
    }
}

extension TokenBatch.Segment {
    /// The vectors of prompt tuning that come before the segment: where it begins its sequence.
    fileprivate var softPrompt: Tensor? {
        guard firstPosition == 0, case .embeddings(let parameter) = adapter?.virtualTokens else { return nil }
        return parameter.tensor
    }
}

extension Adapter {
    fileprivate var isPrefix: Bool { virtualTokens?.kind == .keysAndValues }

    /// Positions that a prefix of keys and values takes before the first token.
    var prefixTokenCount: Int { isPrefix ? virtualTokenCount : 0 }
}

extension TextModel {
    /// The most tokens of a sequence that an adapter acts on: its virtual tokens take positions of the context too.
    public func contextLength(with adapter: (any Adapter)?) -> Int {
        max(0, facts.contextLength - (adapter?.virtualTokenCount ?? 0))
    }
}

extension LanguageModel {
    /// A cache for one sequence that an adapter acts on: it begins with the adapter's virtual tokens.
    ///
    /// The virtual tokens are computed in a pass of their own, so that the cache is the same to the last bit whatever
    /// sequence follows.
    public func makeCache(for adapter: (any Adapter)?, _ dtype: DType = .f32) -> SequenceCache {
        let cache = makeCache(dtype)
        begin(cache, with: adapter)
        return cache
    }

    /// Lets an empty cache begin with an adapter's virtual tokens.
    public func begin(_ cache: SequenceCache, with adapter: (any Adapter)?) {
        precondition(cache.count == 0, "virtual tokens come first, and the cache has \(cache.count) positions")
        guard let adapter, let virtualTokens = adapter.virtualTokens else { return }
        let (kvHeads, headDim) = (facts.kvHeads, facts.headDim)
        for layer in 0..<facts.layerCount {
            guard let prefix = virtualTokens.prefix(layer: layer, kvHeads: kvHeads, headDim: headDim) else { continue }
            cache.store(prefix.keys, prefix.values, rows: 0..<virtualTokens.count, layer: layer, position: 0)
        }
        if adapter.isPrefix {
            cache.advance(by: virtualTokens.count)
        } else {
            var batch = TokenBatch()
            batch.append([], cache: cache, adapter: adapter)
            _ = hiddenStates(batch)
        }
    }
}
