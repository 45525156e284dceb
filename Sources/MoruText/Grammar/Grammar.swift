import MoruBase

/// A context-free grammar over UTF-8: what a text that is being generated may be.
///
/// Made from a JSON Schema, a regular expression or GBNF; ``TokenGrammar`` turns it into the tokens that may come next.
public struct Grammar: Sendable, Hashable {
    /// What a part of a text may be.
    indirect enum Expression: Sendable, Hashable {
        /// These bytes.
        case bytes([UInt8])
        /// One scalar of a set.
        case scalars(ScalarRanges)
        /// One after the other.
        case sequence([Expression])
        /// One of them; of none, nothing fits.
        case alternatives([Expression])
        /// Several times; without a maximum, any number of times more.
        case repeated(Expression, minimum: Int, maximum: Int?)
        /// What a rule says.
        case rule(Int)

        /// What no text fits.
        static let never = Expression.alternatives([])
        /// The empty text.
        static let empty = Expression.bytes([])
        /// A text.
        static func text(_ text: String) -> Expression { .bytes(Array(text.utf8)) }
        /// An expression or nothing.
        static func optional(_ expression: Expression) -> Expression {
            .repeated(expression, minimum: 0, maximum: 1)
        }
    }

    /// The rules; the first is the whole text.
    var rules: [Expression]

    /// A grammar whose whole text is an expression without rules.
    init(_ expression: Expression) { rules = [expression] }

    init(rules: [Expression]) { self.rules = rules }
}
