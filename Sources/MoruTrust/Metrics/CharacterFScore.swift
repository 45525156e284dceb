/// chrF and chrF++ (Popović, 2015 and 2017) with the defaults of sacrebleu.
struct CharacterFScore {
    private static let characterOrder = 6
    /// Recall counts this many times as much as precision.
    private static let beta = 2.0

    /// The longest runs of words that count; 0 for none.
    let wordOrder: Int

    /// For each order: runs in the text, runs in the reference, runs in both.
    func statistics(_ text: String, reference: String) -> [Double] {
        let (characters, expected) = (Self.characters(text), Self.characters(reference))
        var result: [Double] = []
        for n in 1...Self.characterOrder { result += Self.counts(characters, expected, n) }
        guard wordOrder > 0 else { return result }
        let (words, expectedWords) = (Self.words(text), Self.words(reference))
        for n in 1...wordOrder { result += Self.counts(words, expectedWords, n) }
        return result
    }

    /// The score, 0 to 100, of the mean precision and the mean recall over the orders that both sides have.
    static func value(_ sums: [Double]) -> Double {
        var (precision, recall, orders) = (0.0, 0.0, 0.0)
        for start in stride(from: 0, to: sums.count, by: 3) where sums[start] > 0 && sums[start + 1] > 0 {
            precision += sums[start + 2] / sums[start]
            recall += sums[start + 2] / sums[start + 1]
            orders += 1
        }
        guard precision + recall > 0 else { return 0 }
        (precision, recall) = (precision / orders, recall / orders)
        let factor = beta * beta
        return 100 * (1 + factor) * precision * recall / (factor * precision + recall)
    }

    private static func counts<Item: Hashable>(_ items: [Item], _ expected: [Item], _ n: Int) -> [Double] {
        let (mine, reference) = (NGrams(items, n), NGrams(expected, n))
        // Without a reference of this order, there is nothing to be precise about
        return [
            Double(reference.total > 0 ? mine.total : 0), Double(reference.total), Double(mine.overlap(reference)),
        ]
    }

    private static func characters(_ text: String) -> [Unicode.Scalar] {
        text.unicodeScalars.filter { !$0.properties.isWhitespace }
    }

    /// Words, with one punctuation mark cut off their end, or else off their beginning.
    private static func words(_ text: String) -> [[Unicode.Scalar]] {
        text.unicodeScalars.split { $0.properties.isWhitespace }.flatMap { word -> [[Unicode.Scalar]] in
            let word = Array(word)
            guard word.count > 1, let first = word.first, let last = word.last else { return [word] }
            if isPunctuation(last) { return [Array(word.dropLast()), [last]] }
            return isPunctuation(first) ? [[first], Array(word.dropFirst())] : [word]
        }
    }

    private static func isPunctuation(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "!"..."/", ":"..."@", "["..."`", "{"..."~": true
        default: false
        }
    }
}
