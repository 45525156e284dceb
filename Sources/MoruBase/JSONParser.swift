import Foundation

extension JSON {
    /// Parses JSON text (RFC 8259) in UTF-8.
    ///
    /// - Parameters:
    ///   - bytes: The text.
    ///   - source: What the text is, for error messages: a path, or `request body`.
    ///   - firstLine: The number of the first line, when the text is a line of a larger file.
    /// - Throws: ``MoruError/Code/jsonMalformed``, naming the source, line and column.
    public static func parse(
        _ bytes: UnsafeRawBufferPointer, source: String, firstLine: Int = 1
    ) throws(MoruError) -> JSON {
        var parser = JSONParser(bytes: bytes, source: source, firstLine: firstLine)
        return try parser.parseDocument()
    }

    /// Parses JSON text; see ``parse(_:source:firstLine:)``.
    public static func parse(_ text: String, source: String, firstLine: Int = 1) throws(MoruError) -> JSON {
        try parse(Array(text.utf8), source: source, firstLine: firstLine)
    }

    /// Parses JSON text; see ``parse(_:source:firstLine:)``.
    public static func parse(_ bytes: [UInt8], source: String, firstLine: Int = 1) throws(MoruError) -> JSON {
        let result = bytes.withUnsafeBytes { buffer in
            Result<JSON, MoruError> { () throws(MoruError) in
                try parse(buffer, source: source, firstLine: firstLine)
            }
        }
        return try result.get()
    }

    /// Parses a JSON file.
    ///
    /// - Parameter refusesRepeatedKeys: Whether a key that an object has twice is an error, as in what people write by
    ///   hand. Elsewhere its last value counts, as with Python's parser, which the files of models and the bodies of
    ///   requests are written for.
    /// - Throws: As ``FileSystem/read(_:)`` and ``parse(_:source:firstLine:)``.
    public static func parse(file path: String, refusesRepeatedKeys: Bool = false) throws(MoruError) -> JSON {
        let file = try MappedFile(path: path)
        defer { withExtendedLifetime(file) {} }
        var parser = JSONParser(bytes: file.bytes, source: path, firstLine: 1)
        parser.refusesRepeatedKeys = refusesRepeatedKeys
        return try parser.parseDocument()
    }
}

/// A recursive-descent parser with a bound on depth, so that hostile text cannot overflow the stack.
struct JSONParser {
    static let maximumDepth = 256

    let bytes: UnsafeRawBufferPointer
    let source: String
    let firstLine: Int
    var position = 0
    var depth = 0
    var refusesRepeatedKeys = false

    init(bytes: UnsafeRawBufferPointer, source: String, firstLine: Int) {
        self.bytes = bytes
        self.source = source
        self.firstLine = firstLine
        if bytes.count >= 3, bytes[0] == 0xEF, bytes[1] == 0xBB, bytes[2] == 0xBF { position = 3 }
    }

    mutating func parseDocument() throws(MoruError) -> JSON {
        let value = try parseValue()
        skipWhitespace()
        if position < bytes.count { throw malformed("text after the end of the value") }
        return value
    }

    private mutating func parseValue() throws(MoruError) -> JSON {
        skipWhitespace()
        guard position < bytes.count else { throw malformed("the text ends where a value should be") }
        switch bytes[position] {
        case UInt8(ascii: "{"): return try nested { parser throws(MoruError) in try parser.parseObject() }
        case UInt8(ascii: "["): return try nested { parser throws(MoruError) in try parser.parseArray() }
        case UInt8(ascii: "\""): return .string(try parseString())
        case UInt8(ascii: "t"): return try literal("true", .bool(true))
        case UInt8(ascii: "f"): return try literal("false", .bool(false))
        case UInt8(ascii: "n"): return try literal("null", .null)
        default: return try parseNumber()
        }
    }

    private mutating func nested(
        _ body: (inout JSONParser) throws(MoruError) -> JSON
    ) throws(MoruError) -> JSON {
        depth += 1
        if depth > Self.maximumDepth { throw malformed("nested deeper than \(Self.maximumDepth) levels") }
        position += 1
        let value = try body(&self)
        depth -= 1
        return value
    }

    private mutating func parseObject() throws(MoruError) -> JSON {
        var object = JSONObject()
        skipWhitespace()
        if take(UInt8(ascii: "}")) { return .object(object) }
        while true {
            skipWhitespace()
            guard position < bytes.count, bytes[position] == UInt8(ascii: "\"") else {
                throw malformed("expected a key in double quotes")
            }
            let begin = position
            let key = try parseString()
            if refusesRepeatedKeys, object[key] != nil {
                position = begin
                throw malformed("the key \"\(key)\" is there for the second time in an object; keep one of them")
            }
            skipWhitespace()
            guard take(UInt8(ascii: ":")) else { throw malformed("expected ':' after key \"\(key)\"") }
            object[key] = try parseValue()
            skipWhitespace()
            if take(UInt8(ascii: "}")) { return .object(object) }
            guard take(UInt8(ascii: ",")) else { throw malformed("expected ',' or '}' in an object") }
        }
    }

    private mutating func parseArray() throws(MoruError) -> JSON {
        var elements: [JSON] = []
        skipWhitespace()
        if take(UInt8(ascii: "]")) { return .array(elements) }
        while true {
            elements.append(try parseValue())
            skipWhitespace()
            if take(UInt8(ascii: "]")) { return .array(elements) }
            guard take(UInt8(ascii: ",")) else { throw malformed("expected ',' or ']' in an array") }
        }
    }

    private mutating func parseString() throws(MoruError) -> String {
        position += 1
        let start = position
        while position < bytes.count {
            let byte = bytes[position]
            if byte == UInt8(ascii: "\"") {
                let text = try validated(bytes[start..<position])
                position += 1
                return text
            }
            if byte == UInt8(ascii: "\\") { return try parseEscapedString(from: start) }
            if byte < 0x20 { throw malformed("a control character inside a string") }
            position += 1
        }
        throw malformed("the text ends inside a string")
    }

    private func validated(_ slice: some Collection<UInt8>) throws(MoruError) -> String {
        guard let text = String(validating: slice, as: UTF8.self) else {
            throw malformed("a string that is not valid UTF-8")
        }
        return text
    }

    private mutating func parseEscapedString(from start: Int) throws(MoruError) -> String {
        var content = [UInt8](bytes[start..<position])
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            if byte == UInt8(ascii: "\"") { return try validated(content) }
            if byte < 0x20 { throw malformed("a control character inside a string") }
            guard byte == UInt8(ascii: "\\") else {
                content.append(byte)
                continue
            }
            guard position < bytes.count else { break }
            let escape = bytes[position]
            position += 1
            switch escape {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): content.append(escape)
            case UInt8(ascii: "b"): content.append(0x08)
            case UInt8(ascii: "f"): content.append(0x0C)
            case UInt8(ascii: "n"): content.append(0x0A)
            case UInt8(ascii: "r"): content.append(0x0D)
            case UInt8(ascii: "t"): content.append(0x09)
            case UInt8(ascii: "u"): content.append(contentsOf: String(try parseUnicodeEscape()).utf8)
            default: throw malformed("an unknown escape in a string")
            }
        }
        throw malformed("the text ends inside a string")
    }

    /// Reads what follows `\u`; a lone surrogate becomes U+FFFD, as in Python's and browsers' decoders.
    private mutating func parseUnicodeEscape() throws(MoruError) -> Unicode.Scalar {
        let unit = try parseHexQuad()
        if let scalar = Unicode.Scalar(UInt32(unit)) { return scalar }
        let next = position
        if unit < 0xDC00, position + 6 <= bytes.count, bytes[position] == UInt8(ascii: "\\"),
            bytes[position + 1] == UInt8(ascii: "u")
        {
            position += 2
            let low = try parseHexQuad()
            if 0xDC00...0xDFFF ~= low {
                let value = 0x10000 + (UInt32(unit - 0xD800) << 10 | UInt32(low - 0xDC00))
                return Unicode.Scalar(value) ?? "\u{FFFD}"
            }
            position = next
        }
        return "\u{FFFD}"
    }

    private mutating func parseHexQuad() throws(MoruError) -> UInt16 {
        guard position + 4 <= bytes.count else { throw malformed("the text ends inside a string") }
        var value: UInt16 = 0
        for _ in 0..<4 {
            guard let digit = Character(Unicode.Scalar(bytes[position])).hexDigitValue else {
                throw malformed("\\u needs four hexadecimal digits")
            }
            value = value << 4 | UInt16(digit)
            position += 1
        }
        return value
    }

    private mutating func parseNumber() throws(MoruError) -> JSON {
        let start = position
        _ = take(UInt8(ascii: "-"))
        let firstDigit = position
        guard skipDigits() > 0 else {
            position = start
            throw malformed("expected a value")
        }
        if bytes[firstDigit] == UInt8(ascii: "0"), position - firstDigit > 1 {
            throw malformed("a number with leading zeros")
        }
        var isInteger = true
        if take(UInt8(ascii: ".")) {
            isInteger = false
            guard skipDigits() > 0 else { throw malformed("a number that ends in '.'") }
        }
        if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
            isInteger = false
            if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
            guard skipDigits() > 0 else { throw malformed("a number with an empty exponent") }
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if isInteger, let value = Int(text) { return .int(value) }
        guard let value = Double(text), value.isFinite else { throw malformed("the number \(text) is out of range") }
        return .double(value)
    }

    private mutating func skipDigits() -> Int {
        let start = position
        while position < bytes.count, UInt8(ascii: "0")...UInt8(ascii: "9") ~= bytes[position] { position += 1 }
        return position - start
    }

    private mutating func literal(_ text: StaticString, _ value: JSON) throws(MoruError) -> JSON {
        let end = position + text.utf8CodeUnitCount
        guard end <= bytes.count, memcmp(bytes.baseAddress! + position, text.utf8Start, end - position) == 0 else {
            throw malformed("expected a value")
        }
        position = end
        return value
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard position < bytes.count, bytes[position] == byte else { return false }
        position += 1
        return true
    }

    private mutating func skipWhitespace() {
        while position < bytes.count {
            switch bytes[position] {
            case 0x20, 0x09, 0x0A, 0x0D: position += 1
            default: return
            }
        }
    }

    private func malformed(_ what: String) -> MoruError {
        var line = firstLine
        var lineStart = 0
        for index in 0..<min(position, bytes.count) where bytes[index] == 0x0A {
            line += 1
            lineStart = index + 1
        }
        return MoruError(
            .jsonMalformed, "\(source), line \(line), column \(position - lineStart + 1): \(what)",
            remedy: "the text must be valid JSON (RFC 8259)")
    }
}
