import MoruBase

/// Examples as the model sees them, by number: held in memory (``TokenizedDataset``) or mapped from disk (``TokenShards``).
public protocol ExampleSet: Sendable {
    /// Where the examples come from, for messages.
    var source: String { get }
    /// How many there are.
    var count: Int { get }
    /// What mixing needs to know of the sources; examples are numbered through them in turn.
    var parts: [EpochOrder.Part] { get }
    /// How large an example is; cheap.
    func size(of index: Int) -> ExampleSize
    /// The sequences of an example: one, or for a packed row one for each document in it. Attention and positions
    /// restart with each.
    func sequences(of index: Int) -> [TokenizedExample]
    /// Changes with any token or target.
    var fingerprintText: String { get }
}

extension ExampleSet {
    /// A single source.
    public var parts: [EpochOrder.Part] { [EpochOrder.Part(count: count)] }
}
