import MoruBase

/// Pairs of answers to choose between as the model sees them, held in memory.
public struct PreferenceDataset: LearningSet {
    /// Where the data comes from, for messages.
    public let source: String
    /// The pairs, in the order of the sources and of their files.
    public let pairs: [TokenizedPair]
    /// How the sources are mixed.
    private let mixing: EpochOrder
    /// Pairs that were left out because one of their answers is too long.
    public let skippedCount: Int
    /// Pairs of which an answer was cut because it is too long.
    public let truncatedCount: Int

    /// Takes over pairs, in whose examples the answers are the targets.
    public init(source: String, pairs: [TokenizedPair]) {
        self.source = source
        self.pairs = pairs
        mixing = EpochOrder(count: pairs.count, seed: 0)
        (skippedCount, truncatedCount) = (0, 0)
    }

    /// Reads and encodes sources of pairs.
    ///
    /// - Parameters:
    ///   - maxLength: The most tokens of a prompt with either answer.
    ///   - tooLong: What happens to longer ones; a pair that loses an answer is left out.
    ///   - epochEnd: Where an epoch over weighted sources ends.
    /// - Throws: As ``TokenizedDataset/init(sources:encoder:maxLength:tooLong:epochEnd:)``.
    public init(
        sources: [DataSource], encoder: ExampleEncoder, maxLength: Int,
        tooLong: DataSettings.LengthPolicy = .error, epochEnd: EpochOrder.End = .largest
    ) throws(MoruError) {
        var limit = LengthLimit(maximum: maxLength, policy: tooLong)
        var (pairs, parts): ([TokenizedPair], [EpochOrder.Part]) = ([], [])
        var (skipped, truncated) = (0, 0)
        for source in sources {
            let begin = pairs.count
            var reader = try ExampleReader(source)
            try reader.forEach { (entry) throws(MoruError) in
                guard case .pair(let pair) = entry.example else {
                    throw MoruError(
                        .dataMalformed,
                        "\(entry.place): a \(entry.shape.rawValue) example where a preference is expected",
                        remedy: "preference tuning needs prompt, chosen and rejected")
                }
                return TokenizedPair(
                    chosen: try encoder.encode(answer: pair.chosen, at: entry.place),
                    rejected: try encoder.encode(answer: pair.rejected, at: entry.place))
            } _: { (entry, pair) throws(MoruError) in
                let cutBefore = limit.truncated
                let chosen = try limit.apply(pair.chosen, at: entry.place)
                let rejected = try limit.apply(pair.rejected, at: entry.place)
                guard let chosen, let rejected else {
                    skipped += 1
                    return true
                }
                if limit.truncated > cutBefore { truncated += 1 }
                pairs.append(TokenizedPair(chosen: chosen, rejected: rejected))
                return true
            }
            parts.append(EpochOrder.Part(count: pairs.count - begin, weight: source.weight))
            guard pairs.count > begin else { throw limit.nothingLeft(of: source.path) }
        }
        self.source = sources.map(\.path).joined(separator: ", ")
        self.pairs = pairs
        mixing = try EpochOrder(parts, end: epochEnd, seed: 0)
        (skippedCount, truncatedCount) = (skipped, truncated)
    }

    /// The number of pairs.
    public var count: Int { pairs.count }

    /// The tokens of a pair, both answers together.
    public func size(of index: Int) -> ExampleSize {
        let pair = pairs[index]
        return ExampleSize(
            inputs: pair.chosen.inputs.count + pair.rejected.inputs.count,
            targets: pair.chosen.targetCount + pair.rejected.targetCount)
    }

    /// In which order a run sees them, mixed as the sources' weights say.
    public func order(seed: UInt64) -> EpochOrder { mixing.reseeded(seed) }

    /// A hash of every token and target, and of the sources' shares.
    public var fingerprintText: String {
        var fingerprint = Fingerprint()
        fingerprint.add(pairs.count)
        if mixing.shares.count > 1 { for share in mixing.shares { fingerprint.add(share) } }
        for pair in pairs {
            fingerprint.add(pair.chosen)
            fingerprint.add(pair.rejected)
        }
        return fingerprint.description
    }
}

extension ExampleEncoder {
    /// The tokens of an answer to choose or to reject, of which only the answer is learnt, whatever ``learned`` says.
    fileprivate func encode(answer: TrainingExample, at place: DataPlace) throws(MoruError) -> TokenizedExample {
        var encoder = self
        encoder.learned = .assistant
        return try encoder.encode(answer, at: place)
    }
}
