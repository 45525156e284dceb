import MoruBase

/// Examples that a run learns from or is measured on, by number.
public protocol LearningSet: Sendable {
    /// How many there are.
    var count: Int { get }
    /// In which order a run sees them; several sources are mixed as their weights say.
    func order(seed: UInt64) -> EpochOrder
    /// Changes with any token or target.
    var fingerprintText: String { get }
}

/// Examples as the model sees them, by number: held in memory (``TokenizedDataset``) or mapped from disk (``TokenShards``).
public protocol ExampleSet: LearningSet {
    /// Where the examples come from, for messages.
    var source: String { get }
    /// How large an example is; cheap.
    func size(of index: Int) -> ExampleSize
    /// The sequences of an example: one, or for a packed row one for each document in it. Attention and positions
    /// restart with each.
    func sequences(of index: Int) -> [TokenizedExample]
}

extension ExampleSet {
    /// Every example once an epoch.
    public func order(seed: UInt64) -> EpochOrder { EpochOrder(count: count, seed: seed) }
}

/// Several sets as one, mixed by weight: the sources of a pre-training run, each with shards of its own.
public struct ExampleMixture: ExampleSet {
    /// The sets; examples are numbered through them in turn.
    public let sets: [any ExampleSet]
    private let mixing: EpochOrder
    private let firstNumbers: [Int]

    /// Mixes sets.
    ///
    /// - Parameters:
    ///   - weights: Each set's share, see ``EpochOrder/Part/weight``; nil for every example once an epoch.
    ///   - end: Where an epoch over weighted sets ends.
    /// - Throws: ``MoruError/Code/dataMixture``.
    public init(
        _ sets: [any ExampleSet], weights: [Double?]? = nil, end: EpochOrder.End = .largest
    ) throws(MoruError) {
        precondition(weights.map { $0.count == sets.count } ?? true, "a weight for each of \(sets.count) sets")
        self.sets = sets
        let parts = sets.enumerated().map { EpochOrder.Part(count: $1.count, weight: weights?[$0]) }
        mixing = try EpochOrder(parts, end: end, seed: 0)
        firstNumbers = sets.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1.count) }.dropLast()
    }

    /// Where they come from.
    public var source: String { sets.map(\.source).joined(separator: ", ") }
    /// The number of examples of all sets.
    public var count: Int { sets.reduce(0) { $0 + $1.count } }
    /// Mixed by weight.
    public func order(seed: UInt64) -> EpochOrder { mixing.reseeded(seed) }
    /// How large an example is.
    public func size(of index: Int) -> ExampleSize {
        let set = firstNumbers.lastPlace(notAbove: index)
        return sets[set].size(of: index - firstNumbers[set])
    }
    /// The sequences of an example.
    public func sequences(of index: Int) -> [TokenizedExample] {
        let set = firstNumbers.lastPlace(notAbove: index)
        return sets[set].sequences(of: index - firstNumbers[set])
    }
    /// A hash of the sets and their shares.
    public var fingerprintText: String {
        var fingerprint = Fingerprint()
        for set in sets { fingerprint.add(set.fingerprintText) }
        for share in mixing.shares { fingerprint.add(share) }
        return fingerprint.description
    }
}
