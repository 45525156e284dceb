import MoruBase

/// In which order a run sees the examples of one or several sources, epoch by epoch.
///
/// Which example comes at a place depends on the seed, the epoch and the place alone and is found in constant time
/// without a table, so that a run goes on from a saved ``DataPosition`` at once, however large the data is.
///
/// Without weights an epoch is every example once. With weights, sources share an epoch as their weights say, to the
/// example; a source goes through all its examples before it repeats one, also across epochs, each time in a new order.
public struct EpochOrder: Sendable, Hashable {
    /// What mixing knows of a source.
    public struct Part: Sendable, Hashable {
        /// Its examples.
        public var count: Int
        /// Its share, relative to the others'; nil for 1, or for its size where no source has a weight.
        public var weight: Double?

        /// Makes a part.
        public init(count: Int, weight: Double? = nil) {
            self.count = count
            self.weight = weight
        }
    }

    /// Where an epoch over weighted sources ends.
    public enum End: String, Sendable, Hashable, CaseIterable {
        /// When every source has been seen wholly at least once; the others repeat until then.
        case largest
        /// When the first source has been seen wholly; the others go on in the next epoch where they were.
        case smallest
    }

    /// The sources.
    public let parts: [Part]
    /// Decides the order.
    public private(set) var seed: UInt64
    /// How many examples of each source an epoch has.
    public let shares: [Int]
    /// How many examples an epoch has.
    public let length: Int
    /// The number of the first example of each source, then that of all.
    private let firstNumbers: [Int]
    /// Where the draws of each source begin among those of an epoch, then the number of all.
    private let firstDraws: [Int]

    /// The order of some sources; examples are numbered through them in turn.
    ///
    /// - Throws: ``MoruError/Code/dataMixture`` when a weight is not a positive number, a source is empty, or the weights
    ///   are so far apart that an epoch would never end.
    public init(_ parts: [Part], end: End = .largest, seed: UInt64) throws(MoruError) {
        self.parts = parts
        self.seed = seed
        shares = parts.contains { $0.weight != nil } ? try Self.shares(parts, end) : parts.map(\.count)
        firstNumbers = parts.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1.count) }
        firstDraws = shares.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1) }
        length = firstDraws[shares.count]
    }

    /// The order of a single source.
    public init(count: Int, seed: UInt64) {
        precondition(count >= 0, "\(count) examples")
        parts = [Part(count: count)]
        (shares, length, self.seed) = ([count], count, seed)
        (firstNumbers, firstDraws) = ([0, count], [0, count])
    }

    /// The order that another seed gives.
    public func reseeded(_ seed: UInt64) -> EpochOrder {
        var order = self
        order.seed = seed
        return order
    }

    /// The example at a place of an epoch.
    public func example(epoch: Int, index: Int) -> Int {
        let draw = IndexPermutation(count: length, seed: derivedSeed(seed, 0, UInt64(epoch)))[index]
        let part = (firstDraws.firstIndex { $0 > draw } ?? firstDraws.count) - 1
        let count = parts[part].count
        let drawn = epoch * shares[part] + draw - firstDraws[part]
        let pass = IndexPermutation(count: count, seed: derivedSeed(seed, 1, UInt64(part), UInt64(drawn / count)))
        return firstNumbers[part] + pass[drawn % count]
    }

    /// How many examples of each source make an epoch: the weights' shares by largest remainders.
    private static func shares(_ parts: [Part], _ end: End) throws(MoruError) -> [Int] {
        for (number, part) in parts.enumerated() {
            guard part.weight.map({ $0.isFinite && $0 > 0 }) ?? true else {
                throw MoruError(
                    .dataMixture, "source \(number + 1) has the weight \(part.weight ?? 1)",
                    remedy: "a weight is a number above 0; remove the source to leave it out")
            }
            guard part.count > 0 else { throw MoruError(.dataMixture, "source \(number + 1) has no examples") }
        }
        let sum = parts.reduce(0) { $0 + ($1.weight ?? 1) }
        let portions = parts.map { ($0.weight ?? 1) / sum }
        let lengths = zip(parts, portions).map { Double($0.count) / $1 }
        let length = end == .largest ? (lengths.max() ?? 0).rounded(.up) : max(1, (lengths.min() ?? 0).rounded(.down))
        guard length < 0x1p48 else {
            throw MoruError(
                .dataMixture, "with these weights an epoch has \(length) examples",
                remedy: "bring the weights closer together, or end an epoch with the smallest source")
        }
        let exact = portions.map { $0 * length }
        var shares = exact.map { Int($0) }
        let missing = Int(length) - shares.reduce(0, +)
        let byRemainder = exact.indices.sorted {
            let (first, second) = (exact[$0] - Double(shares[$0]), exact[$1] - Double(shares[$1]))
            return first == second ? $0 < $1 : first > second
        }
        for part in byRemainder.prefix(max(0, missing)) { shares[part] += 1 }
        return shares
    }
}
