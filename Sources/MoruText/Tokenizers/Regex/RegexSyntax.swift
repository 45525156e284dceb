import MoruBase

/// A parsed regular expression.
indirect enum RegexNode {
    /// How eagerly a repetition takes, and whether it gives back.
    enum Greed { case greedy, lazy, possessive }

    case set(ScalarSet)
    case sequence([RegexNode])
    case alternatives([RegexNode])
    case repeated(RegexNode, minimum: Int, maximum: Int?, Greed)
    case atomic(RegexNode)
    case lookahead(RegexNode, negated: Bool)
    case lookbehind(ScalarSet, negated: Bool)
    case startOfText
    case endOfText

    /// Whether the node can match without taking a scalar.
    var matchesEmpty: Bool {
        switch self {
        case .set: false
        case .sequence(let nodes): nodes.allSatisfy(\.matchesEmpty)
        case .alternatives(let nodes): nodes.contains(where: \.matchesEmpty)
        case .repeated(let node, let minimum, _, _): minimum == 0 || node.matchesEmpty
        case .atomic(let node): node.matchesEmpty
        case .lookahead, .lookbehind, .startOfText, .endOfText: true
        }
    }
}

/// Parses the part of Oniguruma's Ruby syntax that published tokenizers use, or of ECMAScript's that schemas use;
/// anything else is refused.
struct RegexParser {
    /// Whose syntax a pattern is written in.
    enum Dialect {
        /// Ruby's, as Oniguruma reads it: tokenizers.
        case oniguruma
        /// ECMAScript's (ECMA-262), which JSON Schema names. `\d`, `\s` and `\w` are ASCII, which every implementation
        /// takes for such; what they leave out, as in `\D` or `[^\d]`, is no such character of any language.
        case ecmaScript
    }

    private static let maximumDepth = 64
    private static let maximumCount = 1000
    private static let maximumRepetitions = 4

    private let pattern: String
    private let dialect: Dialect
    private let scalars: [Unicode.Scalar]
    private var position = 0
    private var depth = 0
    private var ignoresCase = false
    private var isInNegatedClass = false

    private init(_ pattern: String, _ dialect: Dialect) {
        self.pattern = pattern
        self.dialect = dialect
        scalars = Array(pattern.unicodeScalars)
    }

    /// Parses a pattern.
    ///
    /// - Throws: ``MoruError/Code/tokenizerUnsupported`` or ``MoruError/Code/grammarUnsupported`` naming the construct.
    static func parse(_ pattern: String, _ dialect: Dialect = .oniguruma) throws(MoruError) -> RegexNode {
        var parser = RegexParser(pattern, dialect)
        let node = try parser.parseAlternatives()
        if parser.position < parser.scalars.count { throw parser.unsupported("an unmatched ')'") }
        return node
    }

    private func unsupported(_ what: String) -> MoruError {
        MoruError(
            dialect == .oniguruma ? .tokenizerUnsupported : .grammarUnsupported,
            "regular expression \"\(pattern)\": \(what) at character \(position)",
            remedy: "Moru reads character classes, groups, alternatives, repetitions and look-around by one character")
    }

    private var current: Unicode.Scalar? { position < scalars.count ? scalars[position] : nil }

    private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
        guard current == scalar else { return false }
        position += 1
        return true
    }

    private func looking(at text: String) -> Bool {
        scalars[position...].starts(with: text.unicodeScalars)
    }

    private mutating func take(text: String) -> Bool {
        guard looking(at: text) else { return false }
        position += text.unicodeScalars.count
        return true
    }

    private mutating func parseAlternatives() throws(MoruError) -> RegexNode {
        depth += 1
        defer { depth -= 1 }
        if depth > Self.maximumDepth { throw unsupported("groups nested too deep") }
        var alternatives: [RegexNode] = []
        repeat {
            var nodes: [RegexNode] = []
            while let scalar = current, scalar != "|", scalar != ")" { nodes.append(try parseRepetition()) }
            alternatives.append(nodes.count == 1 ? nodes[0] : .sequence(nodes))
        } while take("|")
        return alternatives.count == 1 ? alternatives[0] : .alternatives(alternatives)
    }

    private mutating func parseRepetition() throws(MoruError) -> RegexNode {
        var node = try parseAtom()
        var repetitions = 0
        while let scalar = current {
            let minimum: Int
            let maximum: Int?
            var isInterval = false
            switch scalar {
            case "*": (minimum, maximum) = (0, nil)
            case "+": (minimum, maximum) = (1, nil)
            case "?": (minimum, maximum) = (0, 1)
            case "{":
                (minimum, maximum) = try parseInterval()
                isInterval = true
            default: return node
            }
            if !isInterval { position += 1 }
            var greed = RegexNode.Greed.greedy
            if current == "?" {
                if isInterval, minimum == maximum { throw unsupported("'?' after a fixed count") }
                position += 1
                greed = .lazy
            } else if current == "+", !isInterval {
                // After an interval, Ruby's syntax reads "+" as a repetition of the repetition.
                position += 1
                greed = .possessive
            }
            if node.matchesEmpty, maximum != 1 { throw unsupported("a repetition of what may be empty") }
            repetitions += 1
            if repetitions > Self.maximumRepetitions { throw unsupported("too many repetitions of one another") }
            node = .repeated(node, minimum: minimum, maximum: maximum, greed)
        }
        return node
    }

    private mutating func parseInterval() throws(MoruError) -> (Int, Int?) {
        position += 1
        let low = try parseCount()
        var high = low
        if take(",") { high = try parseCount() }
        guard take("}"), let minimum = low ?? (high == nil ? nil : 0) else { throw unsupported("a malformed count") }
        if let high, high < minimum { throw unsupported("a count that runs backwards") }
        return (minimum, high)
    }

    private mutating func parseCount() throws(MoruError) -> Int? {
        var value: Int?
        while let digit = current.flatMap({ "0"..."9" ~= $0 ? Int($0.value) - 48 : nil }) {
            let next = (value ?? 0) * 10 + digit
            if next > Self.maximumCount { throw unsupported("a count over \(Self.maximumCount)") }
            value = next
            position += 1
        }
        return value
    }

    private mutating func parseAtom() throws(MoruError) -> RegexNode {
        guard let scalar = current else { throw unsupported("an early end") }
        switch scalar {
        case "(": return try parseGroup()
        case "[": return .set(try parseClass())
        case ".":
            position += 1
            return .set(ScalarSet([.range(0x0A...0x0A)], negated: true))
        case "^" where dialect == .ecmaScript, "$" where dialect == .ecmaScript:
            position += 1
            return scalar == "^" ? .startOfText : .endOfText
        case "^", "$": throw unsupported("a line anchor")
        case "*", "+", "?", "{": throw unsupported("a repetition of nothing")
        case "\\": return try parseEscape()
        default:
            position += 1
            return .set(literal(scalar.value))
        }
    }

    private func literal(_ value: UInt32) -> ScalarSet {
        ScalarSet(ignoresCase ? ScalarSet.caseVariants(of: value) : [.range(value...value)])
    }

    private mutating func parseGroup() throws(MoruError) -> RegexNode {
        position += 1
        let outerCase = ignoresCase
        defer { ignoresCase = outerCase }
        enum Kind { case plain, atomic, lookahead(Bool), lookbehind(Bool) }
        var kind = Kind.plain
        if take(text: "?:") {
        } else if take(text: "?i:") {
            ignoresCase = true
        } else if take(text: "?=") {
            kind = .lookahead(false)
        } else if take(text: "?!") {
            kind = .lookahead(true)
        } else if take(text: "?<=") {
            kind = .lookbehind(false)
        } else if take(text: "?<!") {
            kind = .lookbehind(true)
        } else if take(text: "?>") {
            kind = .atomic
        } else if current == "?" {
            throw unsupported("a group of an unknown kind")
        }
        let node = try parseAlternatives()
        guard take(")") else { throw unsupported("an unclosed group") }
        switch kind {
        case .plain: return node
        case .atomic: return .atomic(node)
        case .lookahead(let negated): return .lookahead(node, negated: negated)
        case .lookbehind(let negated):
            guard case .set(let set) = node else { throw unsupported("a look-behind over more than one character") }
            return .lookbehind(set, negated: negated)
        }
    }

    private mutating func parseEscape() throws(MoruError) -> RegexNode {
        if take(text: "\\A") { return .startOfText }
        if take(text: "\\z") { return .endOfText }
        let item = try parseEscapedItem()
        if case .range(let range) = item, range.count == 1 { return .set(literal(range.lowerBound)) }
        return .set(ScalarSet([item]))
    }

    private var isASCIIOnly: Bool { dialect == .ecmaScript && !isInNegatedClass }

    private mutating func parseEscapedItem() throws(MoruError) -> ScalarSet.Item {
        position += 1
        guard let scalar = current else { throw unsupported("an early end") }
        position += 1
        func negated(_ item: ScalarSet.Item) -> ScalarSet.Item { .nested(ScalarSet([item], negated: true)) }
        func one(_ value: UInt32) -> ScalarSet.Item { .range(value...value) }
        switch scalar {
        case "s" where isASCIIOnly: return .nested(ScalarSet([.range(0x09...0x0D), one(0x20)]))
        case "d" where isASCIIOnly: return .range(0x30...0x39)
        case "w" where isASCIIOnly:
            return .nested(ScalarSet([.range(0x30...0x39), .range(0x41...0x5A), .range(0x61...0x7A), one(0x5F)]))
        case "s": return .whitespace
        case "S": return negated(.whitespace)
        case "d": return .categories(CategorySet(rawValue: 1 << 8))
        case "D": return negated(.categories(CategorySet(rawValue: 1 << 8)))
        case "w": return .word
        case "W": return negated(.word)
        case "n": return one(0x0A)
        case "r": return one(0x0D)
        case "t": return one(0x09)
        case "f": return one(0x0C)
        case "v": return one(0x0B)
        case "p", "P": return try parseProperty(negated: scalar == "P")
        case "x": return one(try parseHexadecimal(bracesAllowed: true, digits: 2))
        case "u": return one(try parseHexadecimal(bracesAllowed: false, digits: 4))
        case "a"..."z", "A"..."Z", "0"..."9": throw unsupported("the escape \\\(scalar)")
        default: return one(scalar.value)
        }
    }

    private mutating func parseHexadecimal(bracesAllowed: Bool, digits: Int) throws(MoruError) -> UInt32 {
        var text = ""
        if bracesAllowed, take("{") {
            while let scalar = current, scalar != "}" {
                text.unicodeScalars.append(scalar)
                position += 1
            }
            guard take("}") else { throw unsupported("an unclosed brace") }
        } else {
            while text.utf8.count < digits, let scalar = current, Character(scalar).isHexDigit {
                text.unicodeScalars.append(scalar)
                position += 1
            }
            if text.utf8.count < digits { throw unsupported("a short hexadecimal escape") }
        }
        guard let value = UInt32(text, radix: 16), Unicode.Scalar(value) != nil else {
            throw unsupported("a malformed hexadecimal escape")
        }
        // A lone byte over 0x7F would be part of an encoding rather than a character.
        if digits == 2, text.utf8.count <= 2, value > 0x7F { throw unsupported("a raw byte escape") }
        return value
    }

    private mutating func parseProperty(negated: Bool) throws(MoruError) -> ScalarSet.Item {
        guard take("{") else { throw unsupported("\\p without a brace") }
        var isNegated = negated
        if take("^") { isNegated.toggle() }
        var name = ""
        while let scalar = current, scalar != "}" {
            name.unicodeScalars.append(scalar)
            position += 1
        }
        guard take("}") else { throw unsupported("an unclosed brace") }
        let item: ScalarSet.Item
        if let set = CategorySet(named: name) {
            item = .categories(set)
        } else if name == "Han" {
            item = .nested(ScalarSet(Self.han.map { .range($0) }))
        } else {
            throw unsupported("the property \(name)")
        }
        return isNegated ? .nested(ScalarSet([item], negated: true)) : item
    }

    /// The scalars of script Han (Unicode 16, Scripts.txt).
    private static let han: [ClosedRange<UInt32>] = [
        0x2E80...0x2E99, 0x2E9B...0x2EF3, 0x2F00...0x2FD5, 0x3005...0x3005, 0x3007...0x3007, 0x3021...0x3029,
        0x3038...0x303B, 0x3400...0x4DBF, 0x4E00...0x9FFF, 0xF900...0xFA6D, 0xFA70...0xFAD9, 0x16FE2...0x16FE3,
        0x16FF0...0x16FF1, 0x20000...0x2A6DF, 0x2A700...0x2B739, 0x2B740...0x2B81D, 0x2B820...0x2CEA1,
        0x2CEB0...0x2EBE0, 0x2EBF0...0x2EE5D, 0x2F800...0x2FA1D, 0x30000...0x3134A, 0x31350...0x323AF,
    ]

    private mutating func parseClass() throws(MoruError) -> ScalarSet {
        depth += 1
        defer { depth -= 1 }
        if depth > Self.maximumDepth { throw unsupported("classes nested too deep") }
        position += 1
        let isNegated = take("^")
        isInNegatedClass = isNegated
        defer { isInNegatedClass = false }
        var items: [ScalarSet.Item] = []
        while true {
            guard let scalar = current else { throw unsupported("an unclosed class") }
            if scalar == "]" {
                if items.isEmpty { throw unsupported("an empty class") }
                position += 1
                return ScalarSet(items, negated: isNegated)
            }
            let isRuby = dialect == .oniguruma
            if isRuby, looking(at: "&&") { throw unsupported("an intersection") }
            if isRuby, looking(at: "[:") { throw unsupported("a POSIX class") }
            if isRuby, scalar == "[" {
                items.append(.nested(try parseClass()))
                continue
            }
            let item = try parseClassMember()
            guard case .range(let low) = item else {
                if ignoresCase, case .categories(let set) = item, !CategorySet.number.contains(set) {
                    throw unsupported("a category of letters in a class that ignores case")
                }
                items.append(item)
                continue
            }
            var range = low
            if current == "-", position + 1 < scalars.count, scalars[position + 1] != "]" {
                position += 1
                guard case .range(let high) = try parseClassMember(), high.lowerBound >= low.lowerBound else {
                    throw unsupported("a malformed range")
                }
                range = low.lowerBound...high.lowerBound
            }
            items.append(.range(range))
            if ignoresCase {
                if range.upperBound > 0x7F { throw unsupported("a range beyond ASCII in a class that ignores case") }
                for value in range { items += ScalarSet.caseVariants(of: value) }
            }
        }
    }

    private mutating func parseClassMember() throws(MoruError) -> ScalarSet.Item {
        guard let scalar = current, scalar != "[" || dialect == .ecmaScript else {
            throw unsupported("a malformed range")
        }
        if scalar == "\\" { return try parseEscapedItem() }
        position += 1
        return .range(scalar.value...scalar.value)
    }
}
