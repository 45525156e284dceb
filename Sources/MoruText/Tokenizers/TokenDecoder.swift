/// One step from pieces back to text, as in the `decoder` section of a tokenizer.json. Each step rewrites a list of
/// pieces; what is left at the end is joined.
enum TokenDecoder: Sendable {
    case byteLevel
    case metaspace(mark: [UInt8], dropsFirst: Bool)
    case wordPiece(prefix: [UInt8], cleansUp: Bool)
    case bpe(suffix: [UInt8])
    case byteFallback
    case fuse
    case strip(content: [UInt8], start: Int, stop: Int)
    case replace(TextPattern, [UInt8])

    func apply(_ pieces: [[UInt8]]) -> [[UInt8]] {
        switch self {
        case .byteLevel:
            var bytes: [UInt8] = []
            for piece in pieces where !ByteAlphabet.decode(piece, into: &bytes) { bytes += piece }
            return [Array(String(decoding: bytes, as: UTF8.self).utf8)]
        case .metaspace(let mark, let dropsFirst):
            return pieces.enumerated().map { index, piece in
                TextPattern.literal(mark).replacing(piece, with: index == 0 && dropsFirst ? [] : [0x20])
            }
        case .wordPiece(let prefix, let cleansUp):
            return pieces.enumerated().map { index, piece in
                var text = piece
                if index > 0 { text = piece.starts(with: prefix) ? Array(piece[prefix.count...]) : [0x20] + piece }
                return cleansUp ? Self.cleanUp(text) : text
            }
        case .bpe(let suffix):
            return pieces.enumerated().map { index, piece in
                TextPattern.literal(suffix).replacing(piece, with: index + 1 == pieces.count ? [] : [0x20])
            }
        case .byteFallback: return Self.joinBytes(pieces)
        case .fuse: return [Array(pieces.joined())]
        case .strip(let content, let start, let stop): return pieces.map { Self.strip($0, content, start, stop) }
        case .replace(let pattern, let replacement):
            return pieces.map { pattern.replacing($0, with: replacement) }
        }
    }

    /// The part this step has in the bytes of one token on its own.
    func bytes(of piece: [UInt8]) -> [UInt8] {
        switch self {
        case .byteLevel:
            var bytes: [UInt8] = []
            return ByteAlphabet.decode(piece, into: &bytes) ? bytes : piece
        case .metaspace(let mark, _): return TextPattern.literal(mark).replacing(piece, with: [0x20])
        case .wordPiece(let prefix, _): return piece.starts(with: prefix) ? Array(piece[prefix.count...]) : piece
        case .bpe(let suffix): return TextPattern.literal(suffix).replacing(piece, with: [0x20])
        case .byteFallback: return Self.fallbackByte(piece).map { [$0] } ?? piece
        case .fuse, .strip: return piece
        case .replace(let pattern, let replacement): return pattern.replacing(piece, with: replacement)
        }
    }

    /// The byte that a piece such as `<0x0A>` stands for, or nil.
    static func fallbackByte(_ piece: some Collection<UInt8>) -> UInt8? {
        guard piece.count == 6, piece.starts(with: "<0x".utf8),
            piece.dropFirst(5).first == UInt8(ascii: ">")
        else { return nil }
        let digits = piece.dropFirst(3).prefix(2)
        guard digits.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }) else { return nil }
        return UInt8(String(decoding: digits, as: UTF8.self), radix: 16)
    }

    /// Joins runs of byte pieces: to their text, or to one U+FFFD a byte when the run is no valid UTF-8.
    private static func joinBytes(_ pieces: [[UInt8]]) -> [[UInt8]] {
        var result: [[UInt8]] = []
        var run: [UInt8] = []
        func flush() {
            if run.isEmpty { return }
            if String(validating: run, as: UTF8.self) != nil {
                result.append(run)
            } else {
                for _ in run { result.append(Array("\u{FFFD}".utf8)) }
            }
            run = []
        }
        for piece in pieces {
            if let byte = fallbackByte(piece) {
                run.append(byte)
            } else {
                flush()
                result.append(piece)
            }
        }
        flush()
        return result
    }

    private static func strip(_ piece: [UInt8], _ content: [UInt8], _ start: Int, _ stop: Int) -> [UInt8] {
        if content.isEmpty { return piece }
        var rest = piece[...]
        for _ in 0..<start {
            guard rest.starts(with: content) else { break }
            rest = rest.dropFirst(content.count)
        }
        for _ in 0..<stop {
            guard rest.count >= content.count, rest.suffix(content.count).elementsEqual(content) else { break }
            rest = rest.dropLast(content.count)
        }
        return Array(rest)
    }

    /// Undoes the spaces that tokenization puts around English punctuation and contractions, as BERT's decoder does.
    private static func cleanUp(_ text: [UInt8]) -> [UInt8] {
        let rules = [
            (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"),
            (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
        ]
        return rules.reduce(text) { text, rule in
            TextPattern.literal(Array(rule.0.utf8)).replacing(text, with: Array(rule.1.utf8))
        }
    }
}
