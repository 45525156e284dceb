/// Cuts a template into tokens, with the whitespace rules that chat templates are written for: `trim_blocks` and
/// `lstrip_blocks` on, a single trailing newline dropped, line endings made `\n`.
struct JinjaLexer {
    private let source: [Unicode.Scalar]
    private var position = 0
    private var line = 1
    private var tokens: [JinjaToken] = []
    /// Whether the last thing read ended with a newline, so that what follows stands at the start of a line.
    private var isLineStart = true

    private init(_ text: String) {
        var scalars: [Unicode.Scalar] = []
        scalars.reserveCapacity(text.utf8.count)
        var afterReturn = false
        for scalar in text.unicodeScalars {
            if scalar == "\r" {
                scalars.append("\n")
            } else if scalar != "\n" || !afterReturn {
                scalars.append(scalar)
            }
            afterReturn = scalar == "\r"
        }
        if scalars.last == "\n" { scalars.removeLast() }
        source = scalars
    }

    /// The tokens of a template, ending with one of kind `end`.
    static func tokens(of text: String) throws(JinjaError) -> [JinjaToken] {
        var lexer = JinjaLexer(text)
        try lexer.readTemplate()
        lexer.tokens.append(JinjaToken(kind: .end, line: lexer.line))
        return lexer.tokens
    }

    // MARK: Text between tags

    private enum Tag {
        case variable
        case block
        case comment
        case raw
    }

    private mutating func readTemplate() throws(JinjaError) {
        while position < source.count {
            let start = position
            guard let (open, tag) = nextTag(from: start) else {
                appendData(source[start...], line: line)
                line += newlines(in: start..<source.count)
                position = source.count
                return
            }
            let sign = scalar(at: open + 2)
            let text = strip(start..<open, before: tag, sign: sign)
            appendData(source[text], line: line)
            line += newlines(in: start..<open)
            position = open + 2 + (sign == "-" || sign == "+" ? 1 : 0)
            switch tag {
            case .comment: try skipComment()
            case .raw: try readRaw(openedAt: open)
            case .variable:
                tokens.append(JinjaToken(kind: .variableBegin, line: line))
                try readCode(isBlock: false)
            case .block:
                tokens.append(JinjaToken(kind: .blockBegin, line: line))
                try readCode(isBlock: true)
            }
        }
    }

    private func nextTag(from start: Int) -> (open: Int, tag: Tag)? {
        var index = start
        while index + 1 < source.count {
            if source[index] == "{" {
                switch source[index + 1] {
                case "{": return (index, .variable)
                case "#": return (index, .comment)
                case "%": return (index, rawTagEnd(from: index) == nil ? .block : .raw)
                default: break
                }
            }
            index += 1
        }
        return nil
    }

    /// Where the text of a raw block begins, if the tag at `open` is `{% raw %}`.
    private func rawTagEnd(from open: Int) -> Int? {
        var index = open + 2
        if let sign = scalar(at: index), sign == "-" || sign == "+" { index += 1 }
        index = skippingSpace(from: index)
        guard matches("raw", at: index) else { return nil }
        index = skippingSpace(from: index + 3)
        if matches("-%}", at: index) { return skippingSpace(from: index + 3) }
        return matches("%}", at: index) ? index + 2 : nil
    }

    private mutating func readRaw(openedAt open: Int) throws(JinjaError) {
        let firstLine = line
        let start = rawTagEnd(from: open) ?? open
        line += newlines(in: open..<start)
        isLineStart = source[start - 1] == "\n"
        var index = start
        while index + 1 < source.count {
            if matches("{%", at: index) {
                var inner = index + 2
                let sign = scalar(at: inner)
                if sign == "-" || sign == "+" { inner += 1 }
                inner = skippingSpace(from: inner)
                if matches("endraw", at: inner) {
                    inner = skippingSpace(from: inner + 6)
                    if let end = blockEnd(at: inner) {
                        let text = strip(start..<index, before: .raw, sign: sign)
                        appendData(source[text], line: line)
                        line += newlines(in: start..<end)
                        finishTag(at: end)
                        return
                    }
                }
            }
            index += 1
        }
        throw JinjaError("this raw block has no {% endraw %}", kind: .syntax, line: firstLine)
    }

    private mutating func skipComment() throws(JinjaError) {
        let start = position
        var index = start
        while index + 1 < source.count {
            if source[index] == "#", source[index + 1] == "}" {
                var end = index + 2
                let sign = index > start ? source[index - 1] : " "
                if sign == "-" {
                    end = skippingSpace(from: end)
                } else if sign != "+", scalar(at: end) == "\n" {
                    end += 1
                }
                line += newlines(in: start..<end)
                finishTag(at: end)
                return
            }
            index += 1
        }
        throw JinjaError("this comment has no end: expected '#}'", kind: .syntax, line: line)
    }

    /// The range of text that remains before a tag.
    private func strip(_ range: Range<Int>, before tag: Tag, sign: Unicode.Scalar?) -> Range<Int> {
        var end = range.upperBound
        if sign == "-" {
            while end > range.lowerBound, source[end - 1].isPythonSpace { end -= 1 }
            return range.lowerBound..<end
        }
        guard sign != "+", tag != .variable else { return range }
        while end > range.lowerBound, source[end - 1] != "\n" {
            guard source[end - 1].isPythonSpace else { return range }
            end -= 1
        }
        return end > range.lowerBound || isLineStart ? range.lowerBound..<end : range
    }

    private mutating func appendData(_ scalars: ArraySlice<Unicode.Scalar>, line: Int) {
        guard !scalars.isEmpty else { return }
        var text = ""
        text.unicodeScalars.append(contentsOf: scalars)
        tokens.append(JinjaToken(kind: .data, text: text, line: line))
    }

    private mutating func finishTag(at end: Int) {
        isLineStart = source[end - 1] == "\n"
        position = end
    }

    // MARK: Inside tags

    private static let openers: [Unicode.Scalar: Unicode.Scalar] = ["(": ")", "[": "]", "{": "}"]
    private static let longSymbols = ["//", "**", "==", "!=", ">=", "<="]
    private static let shortSymbols = Set("+-/*%~[](){}><=.:|,;".unicodeScalars)

    private mutating func readCode(isBlock: Bool) throws(JinjaError) {
        let firstLine = line
        var closers: [Unicode.Scalar] = []
        while position < source.count {
            if closers.isEmpty, let end = isBlock ? blockEnd(at: position) : variableEnd(at: position) {
                tokens.append(JinjaToken(kind: isBlock ? .blockEnd : .variableEnd, line: line))
                line += newlines(in: position..<end)
                finishTag(at: end)
                return
            }
            let scalar = source[position]
            if scalar.isPythonSpace {
                if scalar == "\n" { line += 1 }
                position += 1
            } else if "0"..."9" ~= scalar {
                try readNumber()
            } else if scalar == "_" || scalar.properties.isXIDContinue {
                try readName()
            } else if scalar == "'" || scalar == "\"" {
                try readString(quote: scalar)
            } else {
                try readSymbol(&closers)
            }
        }
        throw JinjaError(
            "unexpected end of template, expected '\(isBlock ? "%}" : "}}")' (opened on line \(firstLine))",
            kind: .syntax, line: line)
    }

    private mutating func readSymbol(_ closers: inout [Unicode.Scalar]) throws(JinjaError) {
        let scalar = source[position]
        if let long = Self.longSymbols.first(where: { matches($0, at: position) }) {
            tokens.append(JinjaToken(kind: .symbol, text: long, line: line))
            position += 2
            return
        }
        guard Self.shortSymbols.contains(scalar) else {
            throw JinjaError("unexpected character '\(scalar)'", kind: .syntax, line: line)
        }
        if let closer = Self.openers[scalar] {
            closers.append(closer)
        } else if scalar == ")" || scalar == "]" || scalar == "}" {
            guard let expected = closers.popLast() else {
                throw JinjaError("unexpected '\(scalar)'", kind: .syntax, line: line)
            }
            guard expected == scalar else {
                throw JinjaError("unexpected '\(scalar)', expected '\(expected)'", kind: .syntax, line: line)
            }
        }
        tokens.append(JinjaToken(kind: .symbol, text: String(scalar), line: line))
        position += 1
    }

    private mutating func readName() throws(JinjaError) {
        let start = position
        while let scalar = scalar(at: position), scalar == "_" || scalar.properties.isXIDContinue { position += 1 }
        let first = source[start]
        guard first == "_" || first.properties.isXIDStart else {
            throw JinjaError("invalid character '\(first)' in a name", kind: .syntax, line: line)
        }
        tokens.append(JinjaToken(kind: .name, text: text(start..<position), line: line))
    }

    private mutating func readNumber() throws(JinjaError) {
        let start = position
        if let token = try readPrefixedInteger() {
            tokens.append(token)
            return
        }
        let follows = start > 0 && source[start - 1] == "."
        let whole = digitRun(from: start)
        if !follows {
            var end = whole
            if scalar(at: end) == ".", isDigit(at: end + 1) { end = digitRun(from: end + 1) }
            if let e = scalar(at: end), e == "e" || e == "E" {
                var exponent = end + 1
                if let sign = scalar(at: exponent), sign == "+" || sign == "-" { exponent += 1 }
                if isDigit(at: exponent) { end = digitRun(from: exponent) }
            }
            if end > whole {
                let digits = text(start..<end).filter { $0 != "_" }
                tokens.append(JinjaToken(kind: .float, text: digits, double: Double(digits) ?? 0, line: line))
                position = end
                return
            }
        }
        var end = whole
        if source[start] == "0" {
            end = start + 1
            while scalar(at: end) == "0" || (scalar(at: end) == "_" && scalar(at: end + 1) == "0") { end += 1 }
        }
        let digits = text(start..<end).filter { $0 != "_" }
        guard let value = Int(digits) else {
            throw JinjaError("the number \(digits) does not fit 64 bits", kind: .syntax, line: line)
        }
        tokens.append(JinjaToken(kind: .integer, text: digits, integer: value, line: line))
        position = end
    }

    private mutating func readPrefixedInteger() throws(JinjaError) -> JinjaToken? {
        guard source[position] == "0", let marker = scalar(at: position + 1) else { return nil }
        let radix: Int
        switch marker {
        case "x", "X": radix = 16
        case "o", "O": radix = 8
        case "b", "B": radix = 2
        default: return nil
        }
        func isDigit(_ index: Int) -> Bool {
            scalar(at: index).flatMap { Int(String($0), radix: radix) } != nil
        }
        var end = position + 2
        var digits = ""
        while isDigit(end) || (scalar(at: end) == "_" && isDigit(end + 1)) {
            if source[end] != "_" { digits.unicodeScalars.append(source[end]) }
            end += 1
        }
        guard !digits.isEmpty else { return nil }
        guard let value = Int(digits, radix: radix) else {
            throw JinjaError("the number \(text(position..<end)) does not fit 64 bits", kind: .syntax, line: line)
        }
        position = end
        return JinjaToken(kind: .integer, text: digits, integer: value, line: line)
    }

    private mutating func readString(quote: Unicode.Scalar) throws(JinjaError) {
        let start = position + 1
        var end = start
        while end < source.count, source[end] != quote { end += source[end] == "\\" ? 2 : 1 }
        guard end < source.count else {
            throw JinjaError("this string has no closing \(quote)", kind: .syntax, line: line)
        }
        let value = try JinjaEscapes.unescape(source[start..<end], line: line)
        tokens.append(JinjaToken(kind: .string, text: value, line: line))
        line += newlines(in: start..<end)
        position = end + 1
    }

    // MARK: Looking

    private func blockEnd(at index: Int) -> Int? {
        if matches("+%}", at: index) { return index + 3 }
        if matches("-%}", at: index) { return skippingSpace(from: index + 3) }
        guard matches("%}", at: index) else { return nil }
        return scalar(at: index + 2) == "\n" ? index + 3 : index + 2
    }

    private func variableEnd(at index: Int) -> Int? {
        if matches("-}}", at: index) { return skippingSpace(from: index + 3) }
        return matches("}}", at: index) ? index + 2 : nil
    }

    private func scalar(at index: Int) -> Unicode.Scalar? { index < source.count ? source[index] : nil }

    private func isDigit(at index: Int) -> Bool { scalar(at: index).map { "0"..."9" ~= $0 } ?? false }

    /// The end of a run of digits with single underscores between them.
    private func digitRun(from start: Int) -> Int {
        var index = start
        while isDigit(at: index) || (scalar(at: index) == "_" && isDigit(at: index + 1)) { index += 1 }
        return index
    }

    private func matches(_ text: String, at index: Int) -> Bool {
        var index = index
        for wanted in text.unicodeScalars {
            guard index < source.count, source[index] == wanted else { return false }
            index += 1
        }
        return true
    }

    private func skippingSpace(from start: Int) -> Int {
        var index = start
        while index < source.count, source[index].isPythonSpace { index += 1 }
        return index
    }

    private func newlines(in range: Range<Int>) -> Int {
        var count = 0
        for index in range where source[index] == "\n" { count += 1 }
        return count
    }

    private func text(_ range: Range<Int>) -> String {
        var text = ""
        text.unicodeScalars.append(contentsOf: source[range])
        return text
    }
}
