import Foundation

/// BLEU (Papineni et al., 2002) of a corpus against one reference each, as sacrebleu computes it (Post, 2018).
enum BLEU {
    static let order = 4

    /// Length of the text and the reference, then matches and totals of n-grams of each order.
    static func statistics(_ text: String, reference: String) -> [Double] {
        let (words, expected) = (MTEvalTokenizer.words(text), MTEvalTokenizer.words(reference))
        var matches: [Double] = [], totals: [Double] = []
        for n in 1...order {
            matches.append(Double(NGrams(words, n).overlap(NGrams(expected, n))))
            totals.append(Double(max(0, words.count - n + 1)))
        }
        return [Double(words.count), Double(expected.count)] + matches + totals
    }

    /// The score, 0 to 100: the geometric mean of the precisions, less for texts that are too short.
    static func value(_ sums: [Double]) -> Double {
        let (length, expected) = (sums[0], sums[1])
        let (matches, totals) = (sums[2..<2 + order], sums[(2 + order)...])
        guard matches.contains(where: { $0 > 0 }) else { return 0 }
        var logarithms = 0.0
        // An order without matches counts as half a match, the next such as a quarter (Chen and Cherry, 2014)
        var smoothing = 1.0
        for (match, total) in zip(matches, totals) {
            // Texts too short for an order have no precision in it
            guard total > 0 else { return 0 }
            if match == 0 { smoothing *= 2 }
            logarithms += log(match > 0 ? match / total : 1 / (smoothing * total))
        }
        let brevity = length < expected ? exp(1 - expected / length) : 1
        return 100 * brevity * exp(logarithms / Double(order))
    }
}

/// How often each run of `n` items occurs.
struct NGrams<Item: Hashable> {
    private var counts: [ArraySlice<Item>: Int] = [:]
    /// The number of runs.
    let total: Int

    init(_ items: [Item], _ n: Int) {
        total = max(0, items.count - n + 1)
        for start in 0..<total { counts[items[start..<start + n], default: 0] += 1 }
    }

    /// The runs that both hold, each as often as the one that holds it less often.
    func overlap(_ other: Self) -> Int {
        counts.reduce(0) { $0 + min($1.value, other.counts[$1.key] ?? 0) }
    }
}

/// The words of mteval-v13a, the tokenizer of the WMT shared tasks: symbols stand alone; full stops, commas and dashes
/// do where they are no part of a number.
enum MTEvalTokenizer {
    static func words(_ text: String) -> [String] {
        var text = text.replacing("<skipped>", with: "").replacing("-\n", with: "").replacing("\n", with: " ")
        for (entity, character) in [("&quot;", "\""), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")] {
            text = text.replacing(entity, with: character)
        }
        var scalars: [Unicode.Scalar] = [" "]
        for scalar in text.unicodeScalars { scalars += isSymbol(scalar) ? [" ", scalar, " "] : [scalar] }
        scalars.append(" ")
        // Each rule reads on behind what it has replaced, as a substitution with a regular expression does
        scalars = substituting(scalars) { !isDigit($0) && isStop($1) ? [$0, " ", $1, " "] : nil }
        scalars = substituting(scalars) { isStop($0) && !isDigit($1) ? [" ", $0, " ", $1] : nil }
        scalars = substituting(scalars) { isDigit($0) && $1 == "-" ? [$0, " ", $1, " "] : nil }
        return scalars.split { $0.properties.isWhitespace }.map { word in
            var view = String.UnicodeScalarView()
            view.append(contentsOf: word)
            return String(view)
        }
    }

    private static func substituting(
        _ scalars: [Unicode.Scalar], _ rule: (Unicode.Scalar, Unicode.Scalar) -> [Unicode.Scalar]?
    ) -> [Unicode.Scalar] {
        var result: [Unicode.Scalar] = []
        var position = 0
        while position < scalars.count {
            if position + 1 < scalars.count, let replacement = rule(scalars[position], scalars[position + 1]) {
                result += replacement
                position += 2
            } else {
                result.append(scalars[position])
                position += 1
            }
        }
        return result
    }

    private static func isDigit(_ scalar: Unicode.Scalar) -> Bool { "0"..."9" ~= scalar }
    private static func isStop(_ scalar: Unicode.Scalar) -> Bool { scalar == "." || scalar == "," }

    /// ASCII symbols but for the apostrophe, the comma, the dash and the full stop.
    private static func isSymbol(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "{"..."~", "["..."`", " "..."&", "("..."+", ":"..."@", "/": true
        default: false
        }
    }
}
