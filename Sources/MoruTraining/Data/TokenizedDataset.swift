import MoruBase

/// A data file as the model sees it.
public struct TokenizedDataset: Sendable {
    /// Where the data comes from, for messages.
    public let source: String
    /// The examples, in the order of the file.
    public let examples: [TokenizedExample]
    /// Examples that were left out because they are too long.
    public let skippedCount: Int
    /// Examples that were cut because they are too long.
    public let truncatedCount: Int

    /// Takes over examples, each of which must have a target.
    public init(source: String, examples: [TokenizedExample], skippedCount: Int = 0, truncatedCount: Int = 0) {
        self.source = source
        self.examples = examples
        self.skippedCount = skippedCount
        self.truncatedCount = truncatedCount
    }

    /// Reads and encodes a JSONL file.
    ///
    /// - Parameters:
    ///   - maxLength: The most tokens of an example.
    ///   - tooLong: What happens to longer ones. An example that loses all its targets when cut is left out.
    /// - Throws: ``MoruError/Code/dataMalformed``, ``MoruError/Code/dataEmpty``, ``MoruError/Code/dataTooLong``, or
    ///   what the template throws, naming file and line.
    public init(
        path: String, encoder: ExampleEncoder, format: DataSettings.Format = .auto, maxLength: Int,
        tooLong: DataSettings.LengthPolicy = .error
    ) throws(MoruError) {
        var reader = try JSONLReader(path: path)
        var examples: [TokenizedExample] = []
        var (skipped, truncated) = (0, 0)
        while let record = try reader.next() {
            let place = "\(path), line \(record.line)"
            var example: TokenizedExample
            do {
                example = try encoder.encode(TrainingExample(json: record.value, format: format, place: place))
            } catch {
                throw error.code == .dataMalformed ? error : error.within(place)
            }
            guard example.targetCount > 0 else {
                throw MoruError(
                    .dataMalformed, "\(place): the example has no tokens to learn",
                    remedy: "give the answer some text, or remove the line")
            }
            if example.tokens.count > maxLength {
                switch tooLong {
                case .error:
                    throw MoruError(
                        .dataTooLong,
                        "\(place): the example has \(example.tokens.count) tokens, the limit is \(maxLength)",
                        remedy: "raise data.max_length, or set data.too_long to skip or truncate")
                case .skip:
                    skipped += 1
                    continue
                case .truncate:
                    example = example.prefix(maxLength)
                    guard example.targetCount > 0 else {
                        skipped += 1
                        continue
                    }
                    truncated += 1
                }
            }
            examples.append(example)
        }
        guard !examples.isEmpty else {
            let reason =
                skipped > 0 ? "all \(skipped) examples are longer than \(maxLength) tokens" : "there are no examples"
            throw MoruError(
                .dataEmpty, "\(path): \(reason)",
                remedy: skipped > 0 ? "raise data.max_length" : "write one JSON object a line")
        }
        self.init(source: path, examples: examples, skippedCount: skipped, truncatedCount: truncated)
    }

    /// All tokens.
    public var tokenCount: Int { examples.reduce(0) { $0 + $1.tokens.count } }
    /// All tokens to be learnt.
    public var targetCount: Int { examples.reduce(0) { $0 + $1.targetCount } }

    /// A number that changes with any token or target.
    var fingerprint: Fingerprint {
        var fingerprint = Fingerprint()
        fingerprint.add(examples.count)
        for example in examples {
            fingerprint.add(example.tokens.count)
            for (token, isTarget) in zip(example.tokens, example.isTarget) {
                fingerprint.add(Int(token) << 1 | (isTarget ? 1 : 0))
            }
        }
        return fingerprint
    }
}

extension TokenizedDataset: ExampleSet {
    /// The number of examples.
    public var count: Int { examples.count }
    /// The tokens of an example.
    public func size(of index: Int) -> ExampleSize {
        let example = examples[index]
        return ExampleSize(inputs: example.inputs.count, targets: example.targetCount)
    }
    /// The example itself.
    public func sequences(of index: Int) -> [TokenizedExample] { [examples[index]] }
    /// A hash of every token and target.
    public var fingerprintText: String { fingerprint.description }
}
