extension Grammar {
    /// Texts of some grammars, one after the other.
    public static func sequence(_ grammars: [Grammar]) -> Grammar { joined(grammars) { .sequence($0) } }

    /// Texts of any of some grammars.
    public static func alternatives(_ grammars: [Grammar]) -> Grammar { joined(grammars) { .alternatives($0) } }

    /// A grammar of some texts.
    public static func choice(_ texts: [String]) -> Grammar { Grammar(.alternatives(texts.map { .text($0) })) }

    private static func joined(_ grammars: [Grammar], _ root: ([Expression]) -> Expression) -> Grammar {
        var rules: [Expression] = [.never]
        var roots: [Expression] = []
        for grammar in grammars {
            roots.append(.rule(rules.count))
            let offset = rules.count
            rules += grammar.rules.map { $0.movingRules(by: offset) }
        }
        rules[0] = root(roots)
        return Grammar(rules: rules)
    }
}

extension Grammar.Expression {
    /// The same expression where every rule has a number higher by some.
    fileprivate func movingRules(by offset: Int) -> Grammar.Expression {
        switch self {
        case .bytes, .scalars: self
        case .sequence(let parts): .sequence(parts.map { $0.movingRules(by: offset) })
        case .alternatives(let parts): .alternatives(parts.map { $0.movingRules(by: offset) })
        case .repeated(let part, let minimum, let maximum):
            .repeated(part.movingRules(by: offset), minimum: minimum, maximum: maximum)
        case .rule(let number): .rule(number + offset)
        }
    }
}
