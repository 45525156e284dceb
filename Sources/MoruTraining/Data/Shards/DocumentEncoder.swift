import MoruBase
import MoruText

/// Makes tokens of texts of any length: a long one is cut at lines and tokenised on all threads, where the tokenizer
/// gives the same tokens for the lines as for the text.
struct DocumentEncoder: Sendable {
    private let tokenizer: Tokenizer
    /// What the tokenizer puts around a text.
    private let (prefix, suffix): ([Int32], [Int32])
    private let splitsAtLines: Bool
    /// The bytes of a piece.
    var pieceBytes = 1 << 20

    init(_ encoder: ExampleEncoder) {
        tokenizer = encoder.tokenizer
        func encode(_ text: String) -> [Int32] { encoder.tokenizer.encode(text, addSpecialTokens: false) }
        let (bare, whole) = (encode("a"), encoder.tokenizer.encode("a", addSpecialTokens: true))
        let place = whole.firstRange(of: bare) ?? 0..<whole.count
        (prefix, suffix) = (Array(whole[..<place.lowerBound]), Array(whole[place.upperBound...]))
        let probes = [
            ("One two,\n", "three"), ("end. \r\n", "(So)"), ("x\n\n", "1"), ("\t- 가나\n", "é"), ("a\n", "'s b"),
        ]
        splitsAtLines = probes.allSatisfy { encode($0 + $1) == encode($0) + encode($1) }
    }

    /// The tokens of a text, all of them learnt, with the end of sequence where the model has one.
    func encode(_ text: String) -> TokenizedExample {
        let pieces = splitsAtLines && text.utf8.count > 2 * pieceBytes ? self.pieces(of: text) : [text[...]]
        var tokens = prefix
        let parts = inParallel(pieces.count) { tokenizer.encode(String(pieces[$0]), addSpecialTokens: false) }
        for part in parts { tokens += part }
        tokens += suffix
        if let end = tokenizer.endOfSequence, tokens.last != end { tokens.append(end) }
        return TokenizedExample(tokens: tokens, isTarget: Array(repeating: true, count: tokens.count))
    }

    /// The text cut after line breaks that something other than a blank follows.
    private func pieces(of text: String) -> [Substring] {
        let bytes = text.utf8
        var pieces: [Substring] = []
        var begin = text.startIndex
        while begin < text.endIndex {
            var end = bytes.index(begin, offsetBy: pieceBytes, limitedBy: text.endIndex) ?? text.endIndex
            while end < text.endIndex, !(bytes[bytes.index(before: end)] == 0x0A && bytes[end] > 0x20) {
                end = bytes.index(after: end)
            }
            pieces.append(text[begin..<end])
            begin = end
        }
        return pieces
    }
}

extension Tokenizer {
    /// A hash of what decides the tokens of a text: the pieces, the special tokens, and a probe of how texts are cut.
    var dataFingerprint: String {
        var fingerprint = Fingerprint()
        for id in 0..<Int32(vocabularySize) {
            fingerprint.add(piece(id) ?? "")
            if isSpecial(id) { fingerprint.add(1) }
        }
        for role in [beginOfSequence, endOfSequence] { fingerprint.add(role.map { Int($0) } ?? -1) }
        let probe = "The  quick brown fox's 12345 jumps,\n\n\tÜber  naïve Ǆ 한국어 日本 🙂 <html> don't!?  x_y=3.14e-5"
        for id in encode(probe) { fingerprint.add(Int(id)) }
        return fingerprint.description
    }
}
