import MoruBase
import MoruText

/// Looks at data; see ``DataInspection``.
public struct DataInspector {
    /// What is looked at.
    public let sources: [DataSource]
    /// Makes tokens of the examples; nil looks at text alone.
    public var encoder: ExampleEncoder?
    /// The most tokens of an example.
    public var maxLength: Int?
    /// How alike two examples must be to count as nearly the same; nil does not compare.
    public var similarity: Double? = 0.8

    private static let (listedProblems, listedTokens, excerpt) = (20, 20, 160)

    /// Makes an inspector.
    public init(_ sources: [DataSource]) { self.sources = sources }

    /// Reads everything. Records that cannot be used are listed, not thrown.
    ///
    /// - Parameter progress: Told the number of examples read so far.
    /// - Throws: What finding the files throws, or ``MoruError/Code/dataEmpty`` when there is no record at all.
    public func inspect(progress: (Int) -> Void = { _ in }) throws(MoruError) -> DataInspection {
        var result = DataInspection()
        var tally = Tally(maxLength)
        for source in sources {
            var reader = try ExampleReader(source, learned: encoder?.learned ?? .assistant)
            result.files += reader.files.files
            result.skippedFiles += reader.files.skipped
            try reader.forEach { (entry) throws(MoruError) in
                let text = ExampleText(entry.example)
                return Look(text: text, language: Languages.detect(text.question), encoded: try encode(entry))
            } failing: { (error) throws(MoruError) in
                result.problemCount += 1
                if result.problems.count < Self.listedProblems {
                    result.problems.append(DataInspection.Problem(message: error.message, remedy: error.remedy))
                }
            } _: { (entry, look) throws(MoruError) in
                tally.add(entry, look)
                progress(tally.texts.count)
                return true
            }
        }
        guard tally.texts.count + result.problemCount > 0 else {
            throw MoruError(
                .dataEmpty, "\(sources.map(\.path).joined(separator: ", ")): there are no examples",
                remedy: "write one JSON object per line, or give a folder of text files")
        }
        tally.fill(&result)
        if let encoder { fillTokens(&result, tally, encoder) }
        compare(tally, &result)
        return result
    }

    /// An example's tokens; of a pair both answers'.
    private func encode(_ entry: ExampleReader.Entry) throws(MoruError) -> [TokenizedExample] {
        guard let encoder else { return [] }
        switch entry.example {
        case .single(let example): return [try encoder.encode(example, at: entry.place)]
        case .pair(let pair):
            return [
                try encoder.encode(pair.chosen, at: entry.place), try encoder.encode(pair.rejected, at: entry.place),
            ]
        }
    }

    private func fillTokens(_ result: inout DataInspection, _ tally: Tally, _ encoder: ExampleEncoder) {
        result.tokens = DataInspection.Distribution(tally.tokens)
        result.targets = DataInspection.Distribution(tally.targets)
        result.cut = tally.cut
        result.distinctTokens = tally.tokenCounts.count
        let common = tally.tokenCounts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.prefix(Self.listedTokens)
        result.commonTokens = common.map {
            DataInspection.Count(name: encoder.tokenizer.piece($0.key) ?? "\($0.key)", count: $0.value)
        }
    }

    /// Finds what occurs twice.
    private func compare(_ tally: Tally, _ result: inout DataInspection) {
        func likeness(_ numbers: [Int], similarity: Double) -> DataInspection.Likeness {
            DataInspection.Likeness(
                places: numbers.map { tally.places[$0] }, texts: numbers.map { Self.excerpt(tally.texts[$0]) },
                similarity: similarity, answersDiffer: Set(numbers.map { tally.texts[$0].answer }).count > 1)
        }
        let byQuestion = Dictionary(grouping: tally.texts.indices) { tally.texts[$0].question }
        for numbers in byQuestion.values.filter({ $0.count > 1 }).sorted(by: { $0[0] < $1[0] }) {
            let same = Dictionary(grouping: numbers) { tally.texts[$0].whole }.values.sorted { $0[0] < $1[0] }
            for group in same where group.count > 1 { result.duplicates.append(likeness(group, similarity: 1)) }
            if Set(numbers.map { tally.texts[$0].answer }).count > 1 {
                result.conflicts.append(likeness(same.map { $0[0] }, similarity: 1))
            }
        }
        guard let similarity else { return }
        // One of each question: the same question is reported above
        let distinct = byQuestion.values.map { $0[0] }.sorted()
        let near = NearDuplicates(distinct.map { tally.texts[$0].question }, threshold: similarity)
        result.nearDuplicates = near.pairs.map { pair in
            likeness([distinct[pair.first], distinct[pair.second]], similarity: pair.similarity)
        }
    }

    /// A text on one line, shortened.
    private static func excerpt(_ text: ExampleText) -> String {
        let answer = text.answer.isEmpty ? "" : " → " + text.answer
        let line = (text.question.prefix(excerpt) + answer.prefix(excerpt)).split(whereSeparator: \.isNewline)
        return line.joined(separator: " · ")
    }
}

/// What is seen of an example.
private struct Look {
    let text: ExampleText
    let language: String?
    let encoded: [TokenizedExample]
}

/// What adds up over the examples.
private struct Tally {
    var places: [DataPlace] = []
    var texts: [ExampleText] = []
    var tokens: [Int] = []
    var targets: [Int] = []
    var tokenCounts: [Int32: Int] = [:]
    var cut: DataInspection.Cut?
    private var characters: [Int] = []
    private var shapes: [String: Int] = [:]
    private var roles: [String: Int] = [:]
    private var emptyFields: [String: Int] = [:]
    private var languages: [String: Int] = [:]
    private var labels = LabelTally()

    init(_ maxLength: Int?) { cut = maxLength.map { DataInspection.Cut(limit: $0) } }

    mutating func add(_ entry: ExampleReader.Entry, _ look: Look) {
        places.append(entry.place)
        texts.append(look.text)
        shapes[entry.shape.rawValue, default: 0] += 1
        languages[look.language ?? "unknown", default: 0] += 1
        characters.append(look.text.question.count + look.text.answer.count)
        labels.add(look.text.answer)
        for (key, value) in entry.record.object?.members.map({ ($0.key, $0.value) }) ?? [] where value.isBlank {
            emptyFields[key, default: 0] += 1
        }
        if case .single(.messages(let messages, _)) = entry.example {
            for message in messages {
                roles[message.role, default: 0] += 1
                if JSON.string(message.content).isBlank { emptyFields["content of \(message.role)", default: 0] += 1 }
            }
        }
        for example in look.encoded {
            tokens.append(example.tokens.count)
            targets.append(example.targetCount)
            for token in example.tokens { tokenCounts[token, default: 0] += 1 }
            guard let limit = cut?.limit, example.tokens.count > limit else { continue }
            cut?.examples += 1
            cut?.tokens += example.tokens.count - limit
            if example.prefix(limit).targetCount == 0 { cut?.withoutTargets += 1 }
        }
    }

    func fill(_ result: inout DataInspection) {
        result.examples = texts.count
        result.shapes = Self.ranked(shapes)
        result.roles = Self.ranked(roles)
        result.emptyFields = Self.ranked(emptyFields)
        result.languages = Self.ranked(languages)
        result.characters = DataInspection.Distribution(characters)
        result.labels = labels.labels
    }

    static func ranked(_ counts: [String: Int]) -> [DataInspection.Count] {
        counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map {
            DataInspection.Count(name: $0.key, count: $0.value)
        }
    }
}

/// Finds labels in answers: answers that are one of a few short texts, or lines `name: value` of which each is.
private struct LabelTally {
    private static let (mostValues, mostCharacters) = (50, 60)
    private var count = 0
    private var names: [String]?
    private var values: [[String: Int]] = []
    private var isOff = false

    mutating func add(_ answer: String) {
        guard !isOff else { return }
        let fields = Self.fields(answer)
        count += 1
        names = names ?? fields.map(\.name)
        guard fields.map(\.name) == names, !fields.isEmpty else {
            isOff = true
            return
        }
        if values.isEmpty { values = fields.map { _ in [:] } }
        for (place, field) in fields.enumerated() { values[place][field.value, default: 0] += 1 }
        isOff = values.allSatisfy { $0.count > Self.mostValues }
    }

    /// The names and values of an answer; empty when it is too long for a label.
    private static func fields(_ answer: String) -> [(name: String, value: String)] {
        let lines = answer.split(whereSeparator: \.isNewline)
        let pairs = lines.compactMap { line -> (name: String, value: String)? in
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2, parts[0].count <= 30,
                parts[0].allSatisfy({ $0.isLetter || $0.isNumber || "_- ".contains($0) })
            else { return nil }
            return (String(parts[0]), String(parts[1].drop { $0 == " " }))
        }
        if !pairs.isEmpty, pairs.count == lines.count { return pairs }
        guard lines.count == 1, answer.count <= mostCharacters else { return [] }
        return [("label", answer)]
    }

    /// The labels whose values repeat.
    var labels: [DataInspection.Label] {
        guard !isOff, let names else { return [] }
        return zip(names, values).compactMap { name, values in
            guard values.count <= Self.mostValues, values.count * 2 <= count else { return nil }
            return DataInspection.Label(name: name, values: Tally.ranked(values))
        }
    }
}

extension JSON {
    /// Whether it is null or a text without anything to see.
    fileprivate var isBlank: Bool {
        switch self {
        case .null: true
        case .string(let text): text.allSatisfy(\.isWhitespace)
        case .array(let elements): elements.isEmpty
        default: false
        }
    }
}
