/// Hand-written scanners for the published patterns of byte-level models: each finds the end of the word that starts
/// at a position, as the pattern's first match there would, without a regular-expression engine.
enum WordScanner: Sendable, Equatable {
    /// GPT-2 and its many heirs.
    case gpt2
    /// Llama 3 (digits in threes) and Qwen 2 (digits alone).
    case llama3(digits: Int)

    private static let gpt2Pattern =
        #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#
    private static let llama3Head = #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"#
    private static let llama3Tail = #"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#

    /// The scanner for a pattern, or nil when there is none.
    init?(pattern: String) {
        switch pattern {
        case Self.gpt2Pattern: self = .gpt2
        case Self.llama3Head + "{1,3}" + Self.llama3Tail: self = .llama3(digits: 3)
        case Self.llama3Head + Self.llama3Tail: self = .llama3(digits: 1)
        default: return nil
        }
    }

    /// The pattern the scanner stands for.
    var pattern: String {
        switch self {
        case .gpt2: Self.gpt2Pattern
        case .llama3(let digits): Self.llama3Head + (digits == 1 ? "" : "{1,\(digits)}") + Self.llama3Tail
        }
    }

    /// The end of the word that starts at `start`; always after it.
    @inline(__always)
    func wordEnd(_ bytes: UnsafePointer<UInt8>, _ start: Int, _ end: Int, _ table: UnicodeTable) -> Int {
        switch self {
        case .gpt2: Self.gpt2WordEnd(bytes, start, end, table)
        case .llama3(let digits): Self.llama3WordEnd(bytes, start, end, table, digits)
        }
    }

    private enum Kind { case letter, number, whitespace, other }

    @inline(__always)
    private static func kind(_ entry: UInt8) -> Kind {
        if CategorySet.letter.contains(entry) { return .letter }
        if entry & UnicodeTable.whitespaceFlag != 0 { return .whitespace }
        if CategorySet.number.contains(entry) { return .number }
        return .other
    }

    @inline(__always)
    private static func kind(
        _ bytes: UnsafePointer<UInt8>, _ position: Int, _ end: Int, _ table: UnicodeTable
    ) -> (kind: Kind, length: Int) {
        let (value, length) = decodeScalar(bytes, position, end)
        return (kind(table.entry(value)), length)
    }

    /// The end of the run of one kind from `position` on.
    @inline(__always)
    private static func runEnd(
        of wanted: Kind, _ bytes: UnsafePointer<UInt8>, _ position: Int, _ end: Int, _ table: UnicodeTable
    ) -> Int {
        var position = position
        while position < end {
            let (found, length) = kind(bytes, position, end, table)
            if found != wanted { break }
            position += length
        }
        return position
    }

    /// The length of `'s`, `'t`, `'re`, `'ve`, `'m`, `'ll` or `'d` at an apostrophe, or 0.
    @inline(__always)
    private static func contraction(
        _ bytes: UnsafePointer<UInt8>, _ start: Int, _ end: Int, ignoringCase: Bool
    ) -> Int {
        guard start + 1 < end else { return 0 }
        let fold: UInt8 = ignoringCase ? 0x20 : 0
        let first = bytes[start + 1] | fold
        switch first {
        case UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "m"), UInt8(ascii: "d"): return 2
        // U+017F, the long s, equals s when case is ignored.
        case 0xC5 | fold where ignoringCase && bytes[start + 1] == 0xC5:
            return start + 2 < end && bytes[start + 2] == 0xBF ? 3 : 0
        default: break
        }
        guard start + 2 < end else { return 0 }
        let second = bytes[start + 2] | fold
        switch (first, second) {
        case (UInt8(ascii: "r"), UInt8(ascii: "e")), (UInt8(ascii: "v"), UInt8(ascii: "e")),
            (UInt8(ascii: "l"), UInt8(ascii: "l")):
            return 3
        default: return 0
        }
    }

    /// `\s+(?!\S)|\s+`: white space, all but the last scalar of it where text follows.
    @inline(__always)
    private static func whitespaceEnd(
        _ bytes: UnsafePointer<UInt8>, _ start: Int, _ end: Int, _ table: UnicodeTable
    ) -> Int {
        let run = runEnd(of: .whitespace, bytes, start, end, table)
        if run == end { return run }
        let last = scalarStart(before: run, bytes, from: start)
        return last > start ? last : run
    }

    private static func gpt2WordEnd(
        _ bytes: UnsafePointer<UInt8>, _ start: Int, _ end: Int, _ table: UnicodeTable
    ) -> Int {
        let first = bytes[start]
        if first == UInt8(ascii: "'") {
            let length = contraction(bytes, start, end, ignoringCase: false)
            if length > 0 { return start + length }
        }
        let word = first == 0x20 && start + 1 < end ? start + 1 : start
        let (found, length) = kind(bytes, word, end, table)
        switch found {
        case .letter: return runEnd(of: .letter, bytes, word + length, end, table)
        case .number: return runEnd(of: .number, bytes, word + length, end, table)
        case .other: return runEnd(of: .other, bytes, word + length, end, table)
        case .whitespace: return whitespaceEnd(bytes, start, end, table)
        }
    }

    private static func llama3WordEnd(
        _ bytes: UnsafePointer<UInt8>, _ start: Int, _ end: Int, _ table: UnicodeTable, _ digits: Int
    ) -> Int {
        let first = bytes[start]
        if first == UInt8(ascii: "'") {
            let length = contraction(bytes, start, end, ignoringCase: true)
            if length > 0 { return start + length }
        }
        let (found, length) = kind(bytes, start, end, table)
        let next = start + length
        switch found {
        case .letter: return runEnd(of: .letter, bytes, next, end, table)
        case .number:
            var position = next
            var count = 1
            while count < digits, position < end {
                let (found, length) = kind(bytes, position, end, table)
                if found != .number { break }
                position += length
                count += 1
            }
            return position
        case .other, .whitespace:
            let isNewline = first == 0x0A || first == 0x0D
            if !isNewline, next < end {
                let (following, length) = kind(bytes, next, end, table)
                if following == .letter { return runEnd(of: .letter, bytes, next + length, end, table) }
                if first == 0x20, following == .other { return symbolsEnd(bytes, next, end, table) }
            }
            if found == .other { return symbolsEnd(bytes, start, end, table) }
            return newlinesOrWhitespaceEnd(bytes, start, end, table)
        }
    }

    /// `[^\s\p{L}\p{N}]+[\r\n]*`.
    private static func symbolsEnd(
        _ bytes: UnsafePointer<UInt8>, _ start: Int, _ end: Int, _ table: UnicodeTable
    ) -> Int {
        var position = runEnd(of: .other, bytes, start, end, table)
        while position < end, bytes[position] == 0x0A || bytes[position] == 0x0D { position += 1 }
        return position
    }

    /// `\s*[\r\n]+|\s+(?!\S)|\s+`.
    private static func newlinesOrWhitespaceEnd(
        _ bytes: UnsafePointer<UInt8>, _ start: Int, _ end: Int, _ table: UnicodeTable
    ) -> Int {
        let run = runEnd(of: .whitespace, bytes, start, end, table)
        var last = run
        while last > start {
            if bytes[last - 1] == 0x0A || bytes[last - 1] == 0x0D { return last }
            last -= 1
        }
        return whitespaceEnd(bytes, start, end, table)
    }
}
