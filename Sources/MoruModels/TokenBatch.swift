import MoruNN
import MoruTensor
import MoruText

/// The tokens of several sequences, one after the other without padding.
public struct TokenBatch: Sendable {
    /// Some consecutive tokens of one sequence.
    public struct Segment: Sendable {
        /// Their rows in the batch.
        public var rows: Range<Int>
        /// The position of the first token in its sequence.
        public var firstPosition: Int
        /// The sequence's KV cache; nil if the segment is a whole sequence.
        public var cache: SequenceCache?
        /// The adapter that acts on them.
        public var adapter: (any Adapter)?
        /// Each token's type (which text of a pair it belongs to), for encoders that use types; empty if all are 0.
        public var types: [Int32] = []
        /// How many of the first rows are the adapter's virtual tokens; see ``TokenBatch/embedded(by:)``.
        var virtualRows = 0
    }

    /// The token ids.
    public private(set) var tokens: [Int32] = []
    /// The segments, in order; they cover the tokens.
    public private(set) var segments: [Segment] = []
    /// The source of dropout's randomness; nil outside training.
    public var dropout: DropoutSource?
    /// Records the routers' logits; nil if they are not needed.
    public var routing: RoutingRecord?
    /// Observes the inputs of linear layers; nil for none.
    public var observer: LinearObserver?
    /// Whether the model's result has the rows of virtual tokens too, before those of their segment; see
    /// ``resultSegments``.
    var showsVirtualRows = false

    /// An empty batch.
    public init() {}

    /// A batch of whole sequences whose tokens may be of several types.
    public init(_ sequences: [TokenSequence], adapter: (any Adapter)? = nil) {
        for sequence in sequences {
            append(sequence.ids, adapter: adapter)
            segments[segments.count - 1].types = sequence.types
        }
    }

    /// A batch of whole sequences.
    public init(_ sequences: [[Int32]], adapter: (any Adapter)? = nil, dropout: DropoutSource? = nil) {
        for sequence in sequences { append(sequence, adapter: adapter) }
        self.dropout = dropout
    }

    /// Appends the next tokens of a sequence; with a cache, they continue where it ends. A cache may occur once per batch.
    ///
    /// If the adapter has virtual tokens, the sequence starts after them, and its cache must have been made for the
    /// adapter (``LanguageModel/makeCache(for:)``).
    public mutating func append(
        _ tokens: some Collection<Int32>, cache: SequenceCache? = nil, adapter: (any Adapter)? = nil
    ) {
        precondition(
            cache == nil || !segments.contains { $0.cache === cache }, "a batch holds two segments of one sequence")
        let prefix = adapter?.prefixTokenCount ?? 0
        precondition(
            cache.map { $0.count >= prefix } ?? true, "a cache of \(cache?.count ?? 0) positions lacks the prefix")
        append(tokens, firstPosition: cache?.count ?? prefix, cache: cache, adapter: adapter)
    }

    mutating func append(
        _ tokens: some Collection<Int32>, firstPosition: Int, cache: SequenceCache?, adapter: (any Adapter)?,
        virtualRows: Int = 0, types: [Int32] = []
    ) {
        let begin = self.tokens.count
        self.tokens += tokens
        segments.append(
            Segment(
                rows: begin..<self.tokens.count, firstPosition: firstPosition, cache: cache, adapter: adapter,
                types: types, virtualRows: virtualRows))
    }

    /// The batch, extended by another sequence if it has few rows: those have separate kernels, which round differently.
    /// This makes a sequence's states the same, bit for bit, alone and in a batch.
    var withManyRows: TokenBatch {
        guard let token = tokens.first, count <= Runtime.fewRows else { return self }
        var batch = self
        batch.append(Array(repeating: token, count: Runtime.fewRows + 1), adapter: segments.first?.adapter)
        return batch
    }

    /// The number of tokens.
    public var count: Int { tokens.count }

    /// Each token's position in its sequence.
    public var positions: [Int] {
        segments.flatMap { Array($0.firstPosition..<$0.firstPosition + $0.rows.count) }
    }

    /// Each row's type; see ``Segment/types``. Virtual rows have the type 0.
    var types: [Int32] {
        guard segments.contains(where: { !$0.types.isEmpty }) else { return Array(repeating: 0, count: count) }
        return segments.flatMap { segment in
            Array(repeating: 0, count: segment.rows.count - segment.types.count) + segment.types
        }
    }

    /// What the layers need: the adapters' runs of rows (neighbours with the same adapter joined) and dropout.
    public var layerContext: LayerContext {
        var runs: [LayerContext.AdapterRun] = []
        for segment in segments {
            guard let adapter = segment.adapter else { continue }
            if let last = runs.last, last.adapter === adapter, last.rows.upperBound == segment.rows.lowerBound {
                runs[runs.count - 1].rows = last.rows.lowerBound..<segment.rows.upperBound
            } else {
                runs.append(LayerContext.AdapterRun(rows: segment.rows, adapter: adapter))
            }
        }
        return LayerContext(adapters: runs, dropout: dropout, observer: observer)
    }
}

extension TokenBatch {
    /// Attention of a layer over the batch: within each segment, or over the segments' caches, into which the keys and
    /// values go first.
    ///
    /// - Parameters:
    ///   - q: [N, H, D].
    ///   - k: [N, Hkv, D].
    ///   - v: [N, Hkv, D].
    ///   - layer: The layer's number.
    /// - Returns: [N, H, D].
    public func attend(q: Tensor, k: Tensor, v: Tensor, layer: Int, _ options: AttentionOptions) -> Tensor {
        let cached = segments.count { $0.cache != nil }
        precondition(cached == 0 || cached == segments.count, "a batch mixes segments with and without a cache")
        guard cached > 0 else {
            if segments.contains(where: { ($0.adapter?.prefixTokenCount ?? 0) > 0 }) {
                return attendAfterPrefixes(q: q, k: k, v: v, layer: layer, options)
            }
            return scaledDotProductAttention(q: q, k: k, v: v, segments: segments.map(\.rows), options)
        }
        var runs: [CachedAttentionRun] = []
        runs.reserveCapacity(segments.count)
        for segment in segments {
            guard let cache = segment.cache else { continue }
            cache.store(k, v, rows: segment.rows, layer: layer, position: segment.firstPosition)
            runs += segment.runs(cache, layer: layer)
        }
        return cachedAttention(q: q, runs: runs, options)
    }

    /// Each row alone, where the batch is a few rows of sequences with caches and nothing acts on them but the model;
    /// nil otherwise.
    var singleRows: [CachedAttentionRun]? { singleRows { _ in false } }

    /// The same, where low-rank updates may act on them too.
    var updatedSingleRows: [CachedAttentionRun]? { singleRows(LayerContext.addsOnly) }

    private func singleRows(_ mayAct: (any Adapter) -> Bool) -> [CachedAttentionRun]? {
        guard 1...Runtime.fewRows ~= count, dropout == nil else { return nil }
        var runs: [CachedAttentionRun] = []
        runs.reserveCapacity(count)
        for segment in segments {
            guard let cache = segment.cache, segment.virtualRows == 0, segment.adapter.map(mayAct) ?? true
            else { return nil }
            runs += segment.runs(cache, layer: 0)
        }
        return runs
    }

    /// Says to every cache that this batch's tokens are stored; a model calls it once, after its last layer.
    public func advanceCaches() {
        for segment in segments { segment.cache?.advance(by: segment.rows.count) }
    }
}

extension TokenBatch.Segment {
    /// The segment's rows, as attention over its cache takes them.
    ///
    /// Few rows go one by one, as products of few rows do: a row of several is then that row alone, bit for bit.
    fileprivate func runs(_ cache: SequenceCache, layer: Int) -> [CachedAttentionRun] {
        let step = rows.count <= Runtime.fewRows ? 1 : rows.count
        return stride(from: rows.lowerBound, to: rows.upperBound, by: step).map { begin in
            CachedAttentionRun(
                rows: begin..<begin + step, firstPosition: firstPosition + begin - rows.lowerBound, cache: cache,
                layer: layer)
        }
    }
}

extension TokenBatch {
    /// Which sequences of some lengths go into a batch together, in their order: as many as have no more tokens than a
    /// limit, or one that is longer.
    static func runs(of lengths: [Int], atMost limit: Int) -> [Range<Int>] {
        var runs: [Range<Int>] = []
        var begin = 0
        while begin < lengths.count {
            var (end, tokens) = (begin + 1, lengths[begin])
            while end < lengths.count, tokens + lengths[end] <= limit {
                tokens += lengths[end]
                end += 1
            }
            runs.append(begin..<end)
            begin = end
        }
        return runs
    }
}
