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

extension Grammar {
    /// The grammar without the alternatives that no text fits.
    ///
    /// What remains has no dead ends: each beginning of a text that it allows can be completed.
    ///
    /// - Throws: ``MoruError/Code/grammarMalformed`` when no text fits at all.
    func pruned() throws(MoruError) -> Grammar {
        var productive = [Bool](repeating: false, count: rules.count)
        var grows = true
        while grows {
            grows = false
            for (number, rule) in rules.enumerated() where !productive[number] && rule.isProductive(productive) {
                productive[number] = true
                grows = true
            }
        }
        guard productive.first == true else {
            throw MoruError(
                .grammarMalformed,
                "no text fits the grammar: every way through it goes on for ever or contradicts itself",
                remedy: "give every recursion an alternative that ends it")
        }
        return Grammar(rules: rules.map { $0.pruned(productive) })
    }
}

extension Grammar.Expression {
    fileprivate func isProductive(_ rules: [Bool]) -> Bool {
        switch self {
        case .bytes: true
        case .scalars(let set): !set.isEmpty
        case .sequence(let parts): parts.allSatisfy { $0.isProductive(rules) }
        case .alternatives(let parts): parts.contains { $0.isProductive(rules) }
        case .repeated(let part, let minimum, _): minimum == 0 || part.isProductive(rules)
        case .rule(let number): rules[number]
        }
    }

    fileprivate func pruned(_ rules: [Bool]) -> Grammar.Expression {
        guard isProductive(rules) else { return .never }
        switch self {
        case .bytes, .scalars, .rule: return self
        case .sequence(let parts): return .sequence(parts.map { $0.pruned(rules) })
        case .alternatives(let parts):
            return .alternatives(parts.filter { $0.isProductive(rules) }.map { $0.pruned(rules) })
        case .repeated(let part, let minimum, let maximum):
            guard part.isProductive(rules) else { return .empty }
            return .repeated(part.pruned(rules), minimum: minimum, maximum: maximum)
        }
    }
}
