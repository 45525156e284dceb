import MoruBase

/// Finds which of a label's known values an answer gives, in whatever words a model puts it.
///
/// A model that was never tuned seldom keeps to a form, and comparing it fairly means taking its word wherever it
/// stands. The field with the label's name decides, where the answer has one: it is a known value, or the first that
/// it mentions counts. Elsewhere the first known value that follows the label's name counts, then the only known value
/// mentioned anywhere. An answer that mentions several values without the name, or none, gives none.
struct LabelReader {
    let name: String
    /// The known values, as the references write them.
    let values: [String]
    /// The words of each value that can be told from the other values by its words; `C++` and `C#` cannot.
    private let wordsOfValues: [(value: String, words: [Substring])]

    init(name: String, values: [String]) {
        self.name = name
        self.values = values
        let words = values.map { Self.words($0) }
        let counts = Dictionary(words.map { ($0, 1) }, uniquingKeysWith: +)
        wordsOfValues = zip(values, words).filter { !$1.isEmpty && counts[$1] == 1 }.map { (value: $0, words: $1) }
    }

    /// The known value that an answer gives, or nil.
    func read(_ answer: String) -> String? {
        let fields = AnswerFields(answer)
        if let field = fields?.value(of: name) {
            if let value = known(field) { return value }
            if fields?.isBare == false { return first(in: Self.words(field)) }
        }
        let words = Self.words(answer)
        let nameWords = Self.words(name)
        if name != AnswerFields.bareName, let start = Self.find(nameWords, in: words[...]) {
            if let value = first(in: words[(start + nameWords.count)...]) { return value }
        }
        let mentioned = wordsOfValues.filter { Self.find($0.words, in: words[...]) != nil }
        return mentioned.count == 1 ? mentioned[0].value : nil
    }

    /// The value that a text is: as it is written, in another case, or with other punctuation.
    private func known(_ text: String) -> String? {
        if let value = values.first(where: { $0 == text }) { return value }
        let lowercased = text.lowercased()
        if let value = values.first(where: { $0.lowercased() == lowercased }) { return value }
        let words = Self.words(text)
        return wordsOfValues.first { $0.words == words }?.value
    }

    /// The known value that is mentioned first. Of values that begin at one place ("no", "no show") the longer is
    /// meant.
    private func first(in words: some RandomAccessCollection<Substring>) -> String? {
        let words = Array(words)
        let found = wordsOfValues.compactMap { item in
            Self.find(item.words, in: words[...]).map { (position: $0, item: item) }
        }
        return found.min { ($0.position, -$0.item.words.count) < ($1.position, -$1.item.words.count) }?.item.value
    }

    private static func words(_ text: String) -> [Substring] {
        text.lowercased().split { !$0.isLetter && !$0.isNumber }
    }

    private static func find(_ pattern: [Substring], in words: ArraySlice<Substring>) -> Int? {
        guard !pattern.isEmpty, words.count >= pattern.count else { return nil }
        return (words.startIndex...words.endIndex - pattern.count).first {
            words[$0..<$0 + pattern.count].elementsEqual(pattern)
        }
    }
}

extension LabelReader {
    /// Labels with more different values than this are free text, and only exact match counts.
    private static let maximumLabelValues = 64

    /// A reader for each label, with the values that the references give it.
    ///
    /// - Parameter labelNames: The labels to read; nil for those that the references give.
    /// - Throws: ``MoruError/Code/evaluationData`` when a named label is in no reference.
    static func readers(
        of examples: [EvaluationExample], named labelNames: [String]?
    ) throws(MoruError) -> [LabelReader] {
        var values: [String: Set<String>] = [:]
        var order: [String] = []
        var bareCount = 0
        for example in examples {
            let fields = AnswerFields(example.reference)
            if fields?.isBare == true { bareCount += 1 }
            for (name, value) in fields?.fields ?? [] {
                // Names are the same in any case; the first spelling stands
                let key = name.lowercased()
                if values[key] == nil { order.append(name) }
                values[key, default: []].insert(value)
            }
        }
        if let missing = labelNames?.first(where: { values[$0.lowercased()] == nil }) {
            throw MoruError(
                .evaluationData, "no reference answer gives the label \"\(missing)\"",
                remedy: order.isEmpty ? "the references give no labels" : "they give \(order.joined(separator: ", "))")
        }
        return (labelNames ?? order).compactMap { name in
            let known = (values[name.lowercased()] ?? []).sorted()
            if labelNames == nil {
                // Short answers among long ones, or ever new ones, are free text
                if known.count > Self.maximumLabelValues { return nil }
                if (1..<examples.count).contains(bareCount), name == AnswerFields.bareName { return nil }
            }
            return LabelReader(name: name, values: known)
        }
    }
}
