import MoruBase

/// Examples of one or several sources as the model sees them, held in memory.
public struct TokenizedDataset: Sendable {
    /// Where the data comes from, for messages.
    public let source: String
    /// The examples, in the order of the sources and of their files.
    public let examples: [TokenizedExample]
    /// How the sources are mixed.
    private let mixing: EpochOrder
    /// Examples that were left out because they are too long.
    public let skippedCount: Int
    /// Examples that were cut because they are too long.
    public let truncatedCount: Int

    /// Takes over examples, each of which must have a target.
    public init(source: String, examples: [TokenizedExample], skippedCount: Int = 0, truncatedCount: Int = 0) {
        self.init(source, examples, EpochOrder(count: examples.count, seed: 0), skippedCount, truncatedCount)
    }

    private init(
        _ source: String, _ examples: [TokenizedExample], _ mixing: EpochOrder, _ skipped: Int, _ truncated: Int
    ) {
        self.source = source
        self.examples = examples
        self.mixing = mixing
        skippedCount = skipped
        truncatedCount = truncated
    }

    /// Reads and encodes a data file.
    ///
    /// - Throws: As ``init(sources:encoder:maxLength:tooLong:epochEnd:)``.
    public init(
        path: String, encoder: ExampleEncoder, format: DataSettings.Format = .auto, maxLength: Int,
        tooLong: DataSettings.LengthPolicy = .error
    ) throws(MoruError) {
        try self.init(
            sources: [DataSource(path, shape: format.shape)], encoder: encoder, maxLength: maxLength, tooLong: tooLong)
    }

    /// Reads and encodes sources.
    ///
    /// - Parameters:
    ///   - maxLength: The most tokens of an example.
    ///   - tooLong: What happens to longer ones. An example that loses all its targets when cut is left out.
    ///   - epochEnd: Where an epoch over weighted sources ends.
    /// - Throws: ``MoruError/Code/dataMalformed``, ``MoruError/Code/dataEmpty``, ``MoruError/Code/dataTooLong``,
    ///   ``MoruError/Code/dataMixture``, or what reading the source and the template throw, naming file and line.
    public init(
        sources: [DataSource], encoder: ExampleEncoder, maxLength: Int,
        tooLong: DataSettings.LengthPolicy = .error, epochEnd: EpochOrder.End = .largest
    ) throws(MoruError) {
        var limit = LengthLimit(maximum: maxLength, policy: tooLong)
        var examples: [TokenizedExample] = []
        var parts: [EpochOrder.Part] = []
        for source in sources {
            let begin = examples.count
            var reader = try ExampleReader(source, learned: encoder.learned)
            try reader.forEach { (entry) throws(MoruError) in
                guard case .single(let example) = entry.example else {
                    throw MoruError(
                        .dataMalformed, "\(entry.place): a pair of answers to choose between",
                        remedy: "pairs are for preference tuning; give the record prompt and completion")
                }
                return try encoder.encode(example, at: entry.place)
            } _: { (entry, example) throws(MoruError) in
                if let example = try limit.apply(example, at: entry.place) { examples.append(example) }
                return true
            }
            parts.append(EpochOrder.Part(count: examples.count - begin, weight: source.weight))
            guard examples.count > begin else { throw limit.nothingLeft(of: source.path) }
        }
        let mixing = try EpochOrder(parts, end: epochEnd, seed: 0)
        self.init(sources.map(\.path).joined(separator: ", "), examples, mixing, limit.skipped, limit.truncated)
    }

    /// All tokens.
    public var tokenCount: Int { examples.reduce(0) { $0 + $1.tokens.count } }
    /// All tokens to be learnt.
    public var targetCount: Int { examples.reduce(0) { $0 + $1.targetCount } }

    /// A number that changes with any token, target or share of a source.
    var fingerprint: Fingerprint {
        var fingerprint = Fingerprint()
        if mixing.shares.count > 1 { for share in mixing.shares { fingerprint.add(share) } }
        fingerprint.add(examples.count)
        for example in examples { fingerprint.add(example) }
        return fingerprint
    }
}

extension TokenizedDataset: ExampleSet {
    /// The number of examples.
    public var count: Int { examples.count }
    /// Mixed as the sources' weights say.
    public func order(seed: UInt64) -> EpochOrder { mixing.reseeded(seed) }
    /// The tokens of an example.
    public func size(of index: Int) -> ExampleSize {
        let example = examples[index]
        return ExampleSize(inputs: example.inputs.count, targets: example.targetCount)
    }
    /// The example itself.
    public func sequences(of index: Int) -> [TokenizedExample] { [examples[index]] }
    /// A hash of every token and target, and of the sources' shares.
    public var fingerprintText: String { fingerprint.description }
}

/// What happens to examples that are too long.
struct LengthLimit {
    let maximum: Int
    let policy: DataSettings.LengthPolicy
    private(set) var skipped = 0
    private(set) var truncated = 0

    init(maximum: Int, policy: DataSettings.LengthPolicy) {
        self.maximum = maximum
        self.policy = policy
    }

    /// The example, or what the policy leaves of it; nil when it is left out.
    ///
    /// - Throws: ``MoruError/Code/dataTooLong``.
    mutating func apply(_ example: TokenizedExample, at place: DataPlace) throws(MoruError) -> TokenizedExample? {
        guard example.tokens.count > maximum else { return example }
        switch policy {
        case .error:
            throw MoruError(
                .dataTooLong, "\(place): the example has \(example.tokens.count) tokens, the limit is \(maximum)",
                remedy: "raise data.max_length, or set data.too_long to skip or truncate")
        case .skip: break
        case .truncate:
            let cut = example.prefix(maximum)
            guard cut.targetCount > 0 else { break }
            truncated += 1
            return cut
        }
        skipped += 1
        return nil
    }

    /// The error for a source of which nothing is left.
    func nothingLeft(of path: String) -> MoruError {
        let reason = skipped > 0 ? "all \(skipped) examples are longer than \(maximum) tokens" : "there are no examples"
        return MoruError(
            .dataEmpty, "\(path): \(reason)",
            remedy: skipped > 0 ? "raise data.max_length" : "write one JSON object per line")
    }
}

extension ExampleEncoder {
    /// The tokens of an example that stands at a place.
    ///
    /// - Throws: ``MoruError/Code/dataMalformed`` when nothing of it is learnt, or what the template throws.
    func encode(_ example: TrainingExample, at place: DataPlace) throws(MoruError) -> TokenizedExample {
        let encoded: TokenizedExample
        do {
            encoded = try encode(example)
        } catch {
            throw error.within("\(place)")
        }
        guard encoded.targetCount > 0 else {
            throw MoruError(
                .dataMalformed, "\(place): the example has no tokens to learn",
                remedy: "give the answer some text, or remove the record")
        }
        return encoded
    }
}

extension Fingerprint {
    /// Adds an example: its length, and each token with whether it is a target.
    mutating func add(_ example: TokenizedExample) {
        add(example.tokens.count)
        for (token, isTarget) in zip(example.tokens, example.isTarget) {
            add(Int(token) << 1 | (isTarget ? 1 : 0))
        }
    }
}
