/// Finds which of a label's known values an answer gives, in whatever words a model puts it.
///
/// A model that was never tuned seldom keeps to a form, and comparing it fairly means taking its word wherever it
/// stands: first the value of the field with the label's name; then the first known value that follows the name; then
/// the only known value mentioned anywhere. An answer that mentions several values, or none, gives none.
struct LabelReader {
    let name: String
    /// The known values, as the references write them.
    let values: [String]

    /// The known value that an answer gives, or nil.
    func read(_ answer: String) -> String? {
        let exact = AnswerFields(answer)?.value(of: name)
        if let exact, let value = known(exact) { return value }
        let words = Self.words(answer)
        let wanted = values.map { (value: $0, words: Self.words($0)) }.filter { !$0.words.isEmpty }
        let nameWords = Self.words(name)
        if name != AnswerFields.bareName, let start = Self.find(nameWords, in: words, from: 0) {
            let after = start + nameWords.count
            let found = wanted.compactMap { item in
                Self.find(item.words, in: words, from: after).map { (position: $0, value: item.value) }
            }
            // Of values that begin at one place ("no", "no show") the longer is meant.
            let best = found.min { ($0.position, -$0.value.count) < ($1.position, -$1.value.count) }
            if let best { return best.value }
        }
        let mentioned = wanted.filter { Self.find($0.words, in: words, from: 0) != nil }
        return mentioned.count == 1 ? mentioned[0].value : nil
    }

    private func known(_ text: String) -> String? {
        let wanted = Self.words(text)
        return values.first { Self.words($0) == wanted }
    }

    private static func words(_ text: String) -> [Substring] {
        text.lowercased().split { !$0.isLetter && !$0.isNumber }
    }

    private static func find(_ pattern: [Substring], in words: [Substring], from start: Int) -> Int? {
        guard !pattern.isEmpty, words.count >= start + pattern.count else { return nil }
        return (start...words.count - pattern.count).first { words[$0..<$0 + pattern.count].elementsEqual(pattern) }
    }
}
