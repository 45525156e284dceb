import MoruBase
import MoruModels
import MoruText

/// The labelled data of a recipe, and the head that it asks for.
struct HeadData {
    /// Examples, and what the reader should know of them beyond their number.
    typealias Encoded = (data: HeadDataset, notice: String?)

    /// The head that learns it.
    let head: HeadConfiguration
    private let settings: DataSettings
    private let sources: [LabelledSource]
    private let validationSources: [LabelledSource]

    /// Reads the data, and finds the labels in it where the recipe names none.
    ///
    /// - Throws: What is wrong with the data; ``MoruError/Code/recipeValue``.
    init(_ recipe: Recipe) throws(MoruError) {
        settings = recipe.data
        var sources: [LabelledSource] = []
        for source in try recipe.data.trainingSources() { sources.append(try LabelledSource(source, recipe.objective)) }
        self.sources = sources
        let validation = recipe.data.validation.map { recipe.data.source($0) }
        validationSources =
            try validation.map { source throws(MoruError) in
                [try LabelledSource(source, recipe.objective)]
            } ?? []
        head = try Self.head(for: recipe, sources)
    }

    func training(for model: HeadedModel, limit: Int) throws(MoruError) -> Encoded {
        try encode(sources, for: model, limit: limit)
    }

    func validation(for model: HeadedModel, limit: Int) throws(MoruError) -> Encoded? {
        validationSources.isEmpty ? nil : try encode(validationSources, for: model, limit: limit)
    }

    // MARK: Labels

    private static func head(for recipe: Recipe, _ sources: [LabelledSource]) throws(MoruError) -> HeadConfiguration {
        let (named, dropout) = (recipe.data.classification.labels, recipe.headDropout)
        if recipe.objective == .regression {
            return .regression(name: recipe.data.fields["value"] ?? "value", dropout: dropout)
        }
        var (found, isTagged, isMulti): (Set<String>, Bool?, Bool?) = ([], nil, nil)
        for source in sources {
            for (record, place) in source.records {
                let (labels, tagged, multi): (some: [String], Bool, Bool)
                switch record {
                case .text(_, .label(let label)): (labels, tagged, multi) = ([label], false, false)
                case .text(_, .labels(let several)): (labels, tagged, multi) = (several, false, true)
                case .spans(_, let spans): (labels, tagged, multi) = (spans.map(\.label), false, false)
                case .words(_, let tags): (labels, tagged, multi) = (tags, true, false)
                case .text(_, .value), .texts, .pair: continue
                }
                guard isTagged ?? tagged == tagged, isMulti ?? multi == multi else {
                    throw MoruError(
                        .dataMalformed, "\(place): the record is of another shape than those before it",
                        remedy: "give every record label, or labels; entities, or tokens and tags")
                }
                (isTagged, isMulti) = (tagged, multi)
                found.formUnion(labels)
            }
        }
        var labels = named.isEmpty ? sorted(found) : named
        guard Set(labels).count == labels.count else {
            throw MoruError(.recipeValue, "data.labels names a label twice", remedy: "name each label once")
        }
        if recipe.objective == .extraction {
            if isTagged == true {
                labels =
                    (labels.contains(TagScheme.outside) ? [TagScheme.outside] : [])
                    + labels.filter { $0 != TagScheme.outside }
            } else {
                labels = TagScheme.tags(for: labels)
            }
            return HeadConfiguration(.token, labels: labels, dropout: dropout)
        }
        guard labels.count > 1 || isMulti == true else {
            throw MoruError(
                .dataMalformed, "\(sources.map(\.path).joined(separator: ", ")): every text has the label \(labels)",
                remedy: "give examples of at least two labels, or name them in data.labels")
        }
        return HeadConfiguration(
            .sequence, labels: labels, problem: isMulti == true ? .multiLabel : .singleLabel, dropout: dropout)
    }

    /// In the order of the alphabet; numbers by their value.
    private static func sorted(_ labels: Set<String>) -> [String] {
        if labels.allSatisfy({ Int($0) != nil }) { return labels.sorted { (Int($0) ?? 0) < (Int($1) ?? 0) } }
        return labels.sorted()
    }

    private func number(of label: String) throws(MoruError) -> Int {
        if let index = head.labels.firstIndex(of: label) { return index }
        // Of labels that have names the data may give the numbers
        if let index = Int(label), head.labels.indices.contains(index), !settings.classification.labels.isEmpty {
            return index
        }
        let nearest = nearestName(to: label, among: head.labels).map { "; did you mean \($0)?" } ?? ""
        throw MoruError(
            .dataMalformed, "the label is \(label)",
            remedy: "the labels are \(head.labels.joined(separator: ", "))\(nearest)")
    }

    // MARK: Encoding

    private func encode(
        _ sources: [LabelledSource], for model: HeadedModel, limit: Int
    ) throws(MoruError) -> Encoded {
        var (misaligned, first): (Int, String?) = (0, nil)
        let data = try HeadDataset(
            sources, tooLong: settings.tooLong, epochEnd: settings.epochEnd
        ) { record, truncates throws(MoruError) in
            switch record {
            case .text(let text, let answer):
                let tokens = try model.tokens(of: text, limit: limit, truncates: truncates).ids
                return HeadExample(tokens: tokens, target: try target(answer))
            case .spans(let text, let spans):
                let tokens = try model.tokens(of: text, limit: limit, truncates: truncates)
                let (tags, stray) = TagScheme.tags(of: spans, ranges: tokens.ranges)
                if let stray, !truncates {
                    misaligned += 1
                    let scalars = Array(text.unicodeScalars)[stray.range]
                    let quoted = String(String.UnicodeScalarView(scalars))
                    first = first ?? "\(stray.label) \"\(quoted)\" at \(stray.range.lowerBound)"
                }
                var numbers: [Int32] = []
                for (tag, range) in zip(tags, tokens.ranges) {
                    numbers.append(range == nil || range?.isEmpty == true ? -1 : Int32(try number(of: tag)))
                }
                return HeadExample(tokens: tokens.ids, target: .tags(numbers))
            case .words(let words, let tags):
                return try encode(words, tags, for: model, limit: limit, truncates: truncates)
            case .texts, .pair: preconditionFailure("a head does not compare texts")
            }
        }
        guard misaligned > 0, let first else { return (data, nil) }
        let source = sources.map(\.path).joined(separator: ", ")
        return (
            data,
            "\(source): \(misaligned) texts have a span that begins or ends within a token, such as \(first): the whole "
                + "token is learnt as a part of it"
        )
    }

    private func target(_ answer: LabelledRecord.Answer) throws(MoruError) -> HeadExample.Target {
        switch answer {
        case .label(let label): return .label(Int32(try number(of: label)))
        case .value(let value): return .value(value)
        case .labels(let labels):
            var flags = Array(repeating: Float(0), count: head.labels.count)
            for label in labels { flags[try number(of: label)] = 1 }
            return .labels(flags)
        }
    }

    /// Words joined by spaces; of each only the first token is learnt.
    private func encode(
        _ words: [String], _ tags: [String], for model: HeadedModel, limit: Int, truncates: Bool
    ) throws(MoruError) -> HeadExample {
        let tokens = try model.tokens(
            of: words.joined(separator: " "), limit: limit, truncates: truncates)
        var (numbers, begin, position) = (Array(repeating: Int32(-1), count: tokens.ids.count), 0, 0)
        for (word, tag) in zip(words, tags) {
            let end = begin + word.unicodeScalars.count
            while position < tokens.ids.count, (tokens.ranges[position]?.upperBound ?? 0) <= begin { position += 1 }
            if position < tokens.ids.count, let range = tokens.ranges[position], range.lowerBound < end {
                numbers[position] = Int32(try number(of: tag))
            }
            begin = end + 1
        }
        return HeadExample(tokens: tokens.ids, target: .tags(numbers))
    }
}
