import MoruBase

extension Grammar {
    /// Reads a grammar in GBNF, the notation of llama.cpp: `root ::= "yes" | "no" [0-9]{2}`.
    ///
    /// The rule `root` is the whole text. There are literals, classes of characters, `.`, groups, `|`, the repetitions
    /// `*`, `+`, `?`, `{n}`, `{n,}`, `{n,m}`, and comments from `#` to the line's end.
    ///
    /// - Throws: ``MoruError/Code/grammarMalformed``, naming the line.
    public init(gbnf text: String) throws(MoruError) {
        var parser = GBNFParser(text)
        rules = try parser.parse()
    }
}

private struct GBNFParser {
    private static let maximumCount = 10_000
    private static let maximumDepth = 200
    private static let maximumRepetitions = 4

    private let scalars: [Unicode.Scalar]
    private var position = 0
    private var depth = 0
    private var numbers: [String: Int] = [:]
    private var rules: [Grammar.Expression?] = []
    /// Where each rule is first used.
    private var uses: [Int: Int] = [:]

    init(_ text: String) { scalars = Array(text.unicodeScalars) }

    mutating func parse() throws(MoruError) -> [Grammar.Expression] {
        _ = number(of: "root")
        skipSpace(lines: true)
        while current != nil {
            let begin = position
            let name = try parseName()
            skipSpace(lines: false)
            guard take("::=") else { throw malformed("\"::=\" is missing after the rule's name \(name)") }
            let rule = number(of: name)
            guard rules[rule] == nil else { throw malformed("the rule \(name) is defined twice", at: begin) }
            skipSpace(lines: true)
            rules[rule] = try parseAlternatives(isNested: false)
            skipSpace(lines: true)
        }
        var result: [Grammar.Expression] = []
        for (rule, expression) in rules.enumerated() {
            guard let expression else {
                let name = numbers.first { $0.value == rule }?.key ?? ""
                throw malformed("the rule \(name) is not defined", at: uses[rule] ?? position)
            }
            result.append(expression)
        }
        return result
    }

    private func malformed(_ what: String, at position: Int? = nil) -> MoruError {
        let line = 1 + scalars.prefix(position ?? self.position).count { $0 == "\n" }
        return MoruError(
            .grammarMalformed, "the grammar, line \(line): \(what)",
            remedy: "rules are written as name ::= \"text\" [a-z]+ (other | rule)?, and the first to be used is root")
    }

    private var current: Unicode.Scalar? { position < scalars.count ? scalars[position] : nil }

    private mutating func take(_ text: String) -> Bool {
        guard scalars[position...].starts(with: text.unicodeScalars) else { return false }
        position += text.unicodeScalars.count
        return true
    }

    private mutating func skipSpace(lines: Bool) {
        while let scalar = current {
            if scalar == "#" {
                while let next = current, next != "\n" { position += 1 }
            } else if scalar == " " || scalar == "\t" || (lines && (scalar == "\n" || scalar == "\r")) {
                position += 1
            } else {
                return
            }
        }
    }

    private mutating func number(of name: String) -> Int {
        if let known = numbers[name] { return known }
        numbers[name] = rules.count
        rules.append(nil)
        return rules.count - 1
    }

    private func isNamePart(_ scalar: Unicode.Scalar) -> Bool {
        scalar == "-" || scalar == "_" || (scalar.isASCII && Character(scalar).isLetter)
            || (scalar.isASCII && Character(scalar).isNumber)
    }

    private mutating func parseName() throws(MoruError) -> String {
        var name = ""
        while let scalar = current, isNamePart(scalar) {
            name.unicodeScalars.append(scalar)
            position += 1
        }
        guard !name.isEmpty else {
            throw malformed("a rule's name is expected\(current.map { ", not \"\($0)\"" } ?? " at the end")")
        }
        return name
    }

    private mutating func parseAlternatives(isNested: Bool) throws(MoruError) -> Grammar.Expression {
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.maximumDepth else { throw malformed("groups are nested deeper than \(Self.maximumDepth)") }
        var alternatives: [Grammar.Expression] = []
        repeat {
            skipSpace(lines: true)
            var parts: [Grammar.Expression] = []
            while let part = try parseRepetition(isNested: isNested) { parts.append(part) }
            alternatives.append(parts.count == 1 ? parts[0] : .sequence(parts))
        } while takeBar(isNested: isNested)
        return alternatives.count == 1 ? alternatives[0] : .alternatives(alternatives)
    }

    /// A rule goes on in the next line where that begins with a bar.
    private mutating func takeBar(isNested: Bool) -> Bool {
        let begin = position
        skipSpace(lines: true)
        if take("|") { return true }
        if !isNested { position = begin }
        return false
    }

    private mutating func parseRepetition(isNested: Bool) throws(MoruError) -> Grammar.Expression? {
        skipSpace(lines: isNested)
        guard var expression = try parseAtom() else { return nil }
        var repetitions = 0
        while let scalar = current {
            let (minimum, maximum): (Int, Int?)
            switch scalar {
            case "*": (minimum, maximum) = (0, nil)
            case "+": (minimum, maximum) = (1, nil)
            case "?": (minimum, maximum) = (0, 1)
            case "{": (minimum, maximum) = try parseInterval()
            default: return expression
            }
            if scalar != "{" { position += 1 }
            repetitions += 1
            guard repetitions <= Self.maximumRepetitions else {
                throw malformed("more than \(Self.maximumRepetitions) repetitions of one another; one says as much")
            }
            expression = .repeated(expression, minimum: minimum, maximum: maximum)
        }
        return expression
    }

    private mutating func parseInterval() throws(MoruError) -> (Int, Int?) {
        position += 1
        let minimum = try parseCount()
        guard take(",") else {
            guard take("}"), let minimum else { throw malformed("a malformed count") }
            return (minimum, minimum)
        }
        let maximum = try parseCount()
        guard take("}"), maximum ?? .max >= minimum ?? 0 else { throw malformed("a malformed count") }
        return (minimum ?? 0, maximum)
    }

    private mutating func parseCount() throws(MoruError) -> Int? {
        skipSpace(lines: false)
        var value: Int?
        while let scalar = current, "0"..."9" ~= scalar {
            let next = (value ?? 0) * 10 + Int(scalar.value) - 48
            guard next <= Self.maximumCount else { throw malformed("a count over \(Self.maximumCount)") }
            value = next
            position += 1
        }
        skipSpace(lines: false)
        return value
    }

    private mutating func parseAtom() throws(MoruError) -> Grammar.Expression? {
        guard let scalar = current else { return nil }
        switch scalar {
        case "\"": return try parseLiteral()
        case "[": return .scalars(try parseClass())
        case ".":
            position += 1
            return .scalars(.all)
        case "(":
            position += 1
            let expression = try parseAlternatives(isNested: true)
            skipSpace(lines: true)
            guard take(")") else { throw malformed("a group is not closed") }
            return expression
        case "|", ")", "\n", "\r": return nil
        default:
            let begin = position
            guard isNamePart(scalar) else { throw malformed("\"\(scalar)\" cannot stand here") }
            let rule = number(of: try parseName())
            uses[rule] = uses[rule] ?? begin
            return .rule(rule)
        }
    }

    private mutating func parseLiteral() throws(MoruError) -> Grammar.Expression {
        let begin = position
        position += 1
        var text = ""
        while true {
            guard let scalar = current, scalar != "\n" else { throw malformed("a text is not closed", at: begin) }
            if scalar == "\"" { break }
            text.unicodeScalars.append(try parseScalar())
        }
        position += 1
        return .text(text)
    }

    private mutating func parseClass() throws(MoruError) -> ScalarRanges {
        let begin = position
        position += 1
        let isNegated = take("^")
        var ranges: [ClosedRange<UInt32>] = []
        while true {
            guard let scalar = current, scalar != "\n" else { throw malformed("a class is not closed", at: begin) }
            if scalar == "]" { break }
            let low = try parseScalar()
            var high = low
            if current == "-", position + 1 < scalars.count, scalars[position + 1] != "]" {
                position += 1
                high = try parseScalar()
                guard low <= high else { throw malformed("the range \(low)-\(high) runs backwards") }
            }
            ranges.append(low.value...high.value)
        }
        position += 1
        let set = ScalarRanges(ranges)
        return isNegated ? set.complement : set
    }

    private mutating func parseScalar() throws(MoruError) -> Unicode.Scalar {
        guard let scalar = current else { throw malformed("an early end") }
        position += 1
        guard scalar == "\\" else { return scalar }
        guard let escape = current else { throw malformed("an early end") }
        position += 1
        let digits: Int
        switch escape {
        case "n": return "\n"
        case "r": return "\r"
        case "t": return "\t"
        case "\\", "\"", "[", "]", "-", "^": return escape
        case "x": digits = 2
        case "u": digits = 4
        case "U": digits = 8
        default: throw malformed("the escape \\\(escape) is unknown")
        }
        let hexadecimal = String(String.UnicodeScalarView(scalars[position...].prefix(digits)))
        guard hexadecimal.unicodeScalars.count == digits,
            let value = UInt32(hexadecimal, radix: 16).flatMap(Unicode.Scalar.init)
        else { throw malformed("\\\(escape) needs \(digits) hexadecimal digits of a character") }
        position += digits
        return value
    }
}
