import MoruTensor
import Synchronization

/// What a forward pass carries besides its activations: which adapters act on which rows, and dropout's randomness.
public struct LayerContext: Sendable {
    /// Rows of the batch that an adapter acts on.
    public struct AdapterRun: Sendable {
        /// The rows.
        public var rows: Range<Int>
        /// The adapter.
        public let adapter: any Adapter
        /// The adapter, where it is a low-rank one.
        let lowRank: LoRAAdapter?

        /// Makes a run.
        public init(rows: Range<Int>, adapter: any Adapter) {
            self.rows = rows
            self.adapter = adapter
            lowRank = adapter as? LoRAAdapter
        }
    }

    /// Runs of rows with an adapter, in order; rows between them use the base model alone.
    public var adapters: [AdapterRun]
    /// The source of dropout's randomness; nil outside training.
    public var dropout: DropoutSource?
    /// Who wants to see what linear layers read; nil for nobody.
    public var observer: LinearObserver?

    /// Makes a context.
    public init(adapters: [AdapterRun] = [], dropout: DropoutSource? = nil, observer: LinearObserver? = nil) {
        self.adapters = adapters
        self.dropout = dropout
        self.observer = observer
    }

    struct AdaptedRows {
        var rows: Range<Int>
        var adaptation: LayerAdaptation
    }

    /// Whether adapters do nothing to layers but add low-rank updates, if anything.
    package static func addsOnly(_ adapter: any Adapter) -> Bool {
        adapter.layers.isEmpty || (adapter as? LoRAAdapter)?.isPlain == true
    }

    /// The updates that plain low-rank adapters add to the products of a model's layers, by rows.
    package func updates(of layers: [Linear]) -> [(rows: Range<Int>, updates: LowRankUpdates)] {
        adapters.compactMap { run in
            guard !run.rows.isEmpty, let adapter = run.lowRank else { return nil }
            return (run.rows, adapter.updates(of: layers))
        }
    }

    /// The low-rank update that is all that adapters do to a layer, and of all its rows, where a product with the weight
    /// can take it along; nil otherwise.
    ///
    /// Only while the update is trained: what a request gets must not depend on whether all rows of its batch have the
    /// same adapter, and the product rounds differently with the update in it.
    func wholeUpdate(_ runs: [AdaptedRows], rows: Int) -> LowRankUpdate? {
        guard runs.count == 1, runs[0].rows == 0..<rows, case .lowRank(let pair) = runs[0].adaptation,
            pair.a.tensor.isTracked || pair.b.tensor.isTracked, pair.magnitude == nil,
            dropout == nil || pair.dropout == 0, !Runtime.shared.goAsFewRows(rows)
        else { return nil }
        return LowRankUpdate(a: pair.a.tensor, b: pair.b.tensor, scale: pair.scale)
    }

    /// What the adapters make of a layer, by rows.
    func adaptations(of path: String) -> [AdaptedRows] {
        adapters.compactMap { run in
            run.rows.isEmpty ? nil : run.adapter.layers[path].map { AdaptedRows(rows: run.rows, adaptation: $0) }
        }
    }
}

/// A seeded source of dropout masks, advanced as a forward pass asks for them.
public final class DropoutSource: Sendable {
    private let generator: Mutex<RandomGenerator>

    /// The masks of a seed.
    public init(seed: UInt64) { generator = Mutex(RandomGenerator(seed: seed)) }

    /// Where the source stands.
    package var state: RandomGenerator {
        get { generator.withLock { $0 } }
        set { generator.withLock { $0 = newValue } }
    }

    /// Applies dropout.
    public func apply(_ x: Tensor, probability: Float) -> Tensor {
        generator.withLock { x.dropout(probability, using: &$0) }
    }
}
