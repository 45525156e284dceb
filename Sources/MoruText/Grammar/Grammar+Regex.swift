import MoruBase

extension Grammar {
    /// A grammar of the texts that a regular expression matches from their first to their last character; `^` and `$`
    /// around it are allowed and say nothing.
    ///
    /// The syntax is that of ECMAScript, without look-around and back-references.
    ///
    /// - Throws: ``MoruError/Code/grammarUnsupported``, naming the construct.
    public init(regex pattern: String) throws(MoruError) {
        let reader = RegexExpressions(pattern: pattern) { .scalars($0) }
        self.init(try reader.expression(matchesWhole: true))
    }
}

/// Turns a regular expression into an expression of a grammar.
struct RegexExpressions {
    let pattern: String
    /// How one scalar of a set is written.
    let character: (ScalarRanges) -> Grammar.Expression

    /// The expression of what the pattern matches.
    ///
    /// - Parameter matchesWhole: Whether the pattern is the whole text; if not, anything may stand on a side without
    ///   anchor.
    func expression(matchesWhole: Bool) throws(MoruError) -> Grammar.Expression {
        let node = try RegexParser.parse(pattern, .ecmaScript)
        let alternatives: [RegexNode]
        if case .alternatives(let nodes) = node { alternatives = nodes } else { alternatives = [node] }
        let anything = Grammar.Expression.repeated(character(.all), minimum: 0, maximum: nil)
        var result: [Grammar.Expression] = []
        for alternative in alternatives {
            var nodes: [RegexNode]
            if case .sequence(let parts) = alternative { nodes = parts } else { nodes = [alternative] }
            var (begins, ends) = (matchesWhole, matchesWhole)
            if case .startOfText? = nodes.first {
                nodes.removeFirst()
                begins = true
            }
            if case .endOfText? = nodes.last {
                nodes.removeLast()
                ends = true
            }
            var parts: [Grammar.Expression] = begins ? [] : [anything]
            for node in nodes { parts.append(try convert(node)) }
            result.append(.sequence(parts + (ends ? [] : [anything])))
        }
        return .alternatives(result)
    }

    private func convert(_ node: RegexNode) throws(MoruError) -> Grammar.Expression {
        switch node {
        case .set(let set): return character(set.ranges)
        case .sequence(let nodes):
            var parts: [Grammar.Expression] = []
            for node in nodes { parts.append(try convert(node)) }
            return .sequence(parts)
        case .alternatives(let nodes):
            var parts: [Grammar.Expression] = []
            for node in nodes { parts.append(try convert(node)) }
            return .alternatives(parts)
        case .repeated(let node, let minimum, let maximum, let greed):
            guard greed != .possessive else { throw unsupported("a possessive repetition") }
            return .repeated(try convert(node), minimum: minimum, maximum: maximum)
        case .atomic: throw unsupported("an atomic group")
        case .lookahead, .lookbehind: throw unsupported("look-around")
        case .startOfText, .endOfText: throw unsupported("an anchor inside the pattern")
        }
    }

    private func unsupported(_ what: String) -> MoruError {
        MoruError(
            .grammarUnsupported, "regular expression \"\(pattern)\": \(what) cannot guide what is generated",
            remedy: "use character classes, groups, alternatives and repetitions")
    }
}

extension ScalarSet {
    /// The set as ranges.
    var ranges: ScalarRanges {
        let parts = items.map { item in
            switch item {
            case .range(let range): ScalarRanges([range])
            case .nested(let set): set.ranges
            case .whitespace: Self.whitespace
            case .word: Self.word
            case .categories(let categories) where categories == Self.decimalNumber: Self.digits
            case .categories: Self.scan([item], upTo: 0x10FFFF)
            }
        }
        let set = ScalarRanges(parts.flatMap(\.ranges))
        return isNegated ? set.complement : set
    }

    // What patterns ask for most, looked for once; beyond the first four planes there is none of it
    private static let decimalNumber = CategorySet(rawValue: 1 << 8)
    private static let digits = scan([.categories(decimalNumber)], upTo: 0x3FFFF)
    private static let word = scan([.word], upTo: 0x3FFFF).union(ScalarRanges([0xE0100...0xE01EF]))
    private static let whitespace = scan([.whitespace], upTo: 0x3FFFF)

    private static func scan(_ items: [Item], upTo last: UInt32) -> ScalarRanges {
        let set = ScalarSet(items)
        var (result, begin) = ([ClosedRange<UInt32>](), UInt32?.none)
        for value in 0...last + 1 {
            let isIn = value <= last && set.contains(value)
            if isIn { begin = begin ?? value }
            if !isIn, let first = begin {
                result.append(first...value - 1)
                begin = nil
            }
        }
        return ScalarRanges(result)
    }
}
