import MoruBase
import MoruModels

/// A text as a head sees it, with what it should say.
public struct HeadExample: Sendable, Hashable {
    /// What a head should say of a text.
    public enum Target: Sendable, Hashable {
        /// The number of a label.
        case label(Int32)
        /// For each label 1 where the text has it, else 0.
        case labels([Float])
        /// A number.
        case value(Float)
        /// The number of each token's tag; negative where none is learnt.
        case tags([Int32])
        /// The tokens of the text that belongs to it, and of any that do not.
        case texts([[Int32]])
        /// The tokens of another text, and how near it is, from -1 to 1.
        case scored([Int32], score: Float)
    }

    /// The token ids.
    public let tokens: [Int32]
    /// What the head should say.
    public let target: Target

    /// Makes an example.
    public init(tokens: [Int32], target: Target) {
        self.tokens = tokens
        self.target = target
    }

    /// How much the loss sums over: texts, or the tags that are learnt.
    public var targetCount: Int {
        if case .tags(let tags) = target { tags.count { $0 >= 0 } } else { 1 }
    }
}

/// Labelled texts as a head sees them, held in memory.
public struct HeadDataset: LearningSet {
    /// Where the data comes from, for messages.
    public let source: String
    /// The examples, in the order of the sources and of their files.
    public let examples: [HeadExample]
    /// What the reader should know of examples that were not used as they are; nil when all were.
    public let notice: String?
    /// Examples that were left out, and that were cut, because they are too long.
    public let skippedCount, truncatedCount: Int
    private let mixing: EpochOrder

    /// Takes over examples.
    public init(source: String, examples: [HeadExample]) {
        (self.source, self.examples, notice) = (source, examples, nil)
        (skippedCount, truncatedCount) = (0, 0)
        mixing = EpochOrder(count: examples.count, seed: 0)
    }

    /// Encodes the records of sources.
    ///
    /// - Parameters:
    ///   - encode: Makes an example of a record; told whether it may cut it, it throws
    ///     ``MoruError/Code/textTooLong`` where it is too long and may not be.
    /// - Throws: ``MoruError/Code/dataEmpty``, ``MoruError/Code/dataTooLong``, ``MoruError/Code/dataMixture``, or what
    ///   `encode` throws.
    init(
        _ sources: [LabelledSource], tooLong: DataSettings.LengthPolicy, epochEnd: EpochOrder.End,
        encode: (LabelledRecord, _ truncates: Bool) throws(MoruError) -> HeadExample
    ) throws(MoruError) {
        var examples: [HeadExample] = []
        var parts: [EpochOrder.Part] = []
        var (skipped, truncated) = (0, 0)
        for source in sources {
            let begin = examples.count
            for (record, place) in source.records {
                do throws(MoruError) {
                    examples.append(try encode(record, false))
                } catch  where error.code == .textTooLong {
                    switch tooLong {
                    case .error:
                        throw MoruError(
                            .dataTooLong, "\(place): \(error.message)",
                            remedy: "raise data.max_length, or set data.too_long to skip or truncate")
                    case .skip: skipped += 1
                    case .truncate:
                        examples.append(try encode(record, true))
                        truncated += 1
                    }
                } catch {
                    throw error.within("\(place)")
                }
            }
            guard examples.count > begin else {
                throw MoruError(.dataEmpty, "\(source.path): there are no examples that can be trained on")
            }
            parts.append(EpochOrder.Part(count: examples.count - begin, weight: source.weight))
        }
        source = sources.map(\.path).joined(separator: ", ")
        self.examples = examples
        mixing = try EpochOrder(parts, end: epochEnd, seed: 0)
        (skippedCount, truncatedCount) = (skipped, truncated)
        notice = unusedNotice(source, skipped: skipped, truncated: truncated)
    }

    /// The number of examples.
    public var count: Int { examples.count }

    /// In which order a run sees them, mixed as the sources' weights say.
    public func order(seed: UInt64) -> EpochOrder { mixing.reseeded(seed) }

    /// A hash of every token and target, and of the sources' shares.
    public var fingerprintText: String {
        var fingerprint = Fingerprint()
        if mixing.shares.count > 1 { for share in mixing.shares { fingerprint.add(share) } }
        for example in examples {
            fingerprint.add(example.tokens.count)
            for token in example.tokens { fingerprint.add(Int(token)) }
            switch example.target {
            case .label(let label): fingerprint.add(Int(label))
            case .labels(let labels): for label in labels { fingerprint.add(UInt64(label.bitPattern)) }
            case .value(let value): fingerprint.add(UInt64(value.bitPattern))
            case .tags(let tags): for tag in tags { fingerprint.add(Int(tag)) }
            case .texts(let texts):
                for text in texts {
                    fingerprint.add(text.count)
                    for token in text { fingerprint.add(Int(token)) }
                }
            case .scored(let tokens, let score):
                for token in tokens { fingerprint.add(Int(token)) }
                fingerprint.add(UInt64(score.bitPattern))
            }
        }
        return fingerprint.description
    }
}

/// A task over labelled texts.
protocol HeadDatasetTask: DatasetTask {
    /// What is learnt from.
    var training: HeadDataset { get }
    /// What is measured on during the run.
    var validation: HeadDataset? { get }
}

extension HeadDatasetTask {
    /// All examples of a split.
    func examples(_ split: DataSplit) -> [HeadExample] {
        split == .training ? training.examples : validation?.examples ?? []
    }

    /// Some examples of a split, by their numbers.
    func examples(_ numbers: [Int], in split: DataSplit) -> [HeadExample] {
        let all = examples(split)
        return numbers.map { all[$0] }
    }
}

/// The records of a source of labelled data, held in memory.
struct LabelledSource: Sendable {
    let path: String
    let weight: Double?
    let records: [(record: LabelledRecord, place: DataPlace)]

    /// Reads a source.
    ///
    /// - Throws: ``MoruError/Code/dataMalformed``, ``MoruError/Code/dataEmpty``, or what reading the files throws.
    init(_ source: DataSource, _ objective: Recipe.Objective) throws(MoruError) {
        let parser = LabelledRecordParser(objective: objective, fields: source.fields)
        var reader = try SourceReader(source)
        var records: [(record: LabelledRecord, place: DataPlace)] = []
        while let record = try reader.next() {
            records.append((try parser.parse(record.value, place: "\(record.place)"), record.place))
        }
        guard !records.isEmpty else {
            throw MoruError(
                .dataEmpty, "\(source.path): there are no examples", remedy: "write one JSON object per line")
        }
        (path, weight, self.records) = (source.path, source.weight, records)
    }
}
