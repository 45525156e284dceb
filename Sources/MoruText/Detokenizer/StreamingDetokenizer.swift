/// Turns a stream of ids into a stream of text that never ends inside a character.
///
/// What one token leaves unfinished (a part of an emoji, say) is held back until later tokens complete it. Put
/// together, the pieces are what ``Tokenizer/decode(_:skipSpecialTokens:)`` gives for the ids at once.
public struct StreamingDetokenizer: Sendable {
    private let tokenizer: Tokenizer
    private let skipSpecialTokens: Bool
    /// Byte-level models: bytes not yet given out, at most the start of one character after each step.
    private var pending: [UInt8] = []
    /// Other models: the tokens last given out, whose neighbourhood decides on spaces, and those since.
    private var given: [Int32] = []
    private var waiting: [Int32] = []

    /// Starts a stream.
    ///
    /// - Parameter skipSpecialTokens: Whether special tokens give no text.
    public init(tokenizer: Tokenizer, skipSpecialTokens: Bool = true) {
        self.tokenizer = tokenizer
        self.skipSpecialTokens = skipSpecialTokens
    }

    /// Takes the next id.
    ///
    /// - Returns: The text that is now certain, often a word, sometimes nothing.
    public mutating func append(_ id: Int32) -> String {
        if skipSpecialTokens, tokenizer.isSpecial(id) { return "" }
        if tokenizer.decodesByteByByte {
            pending += tokenizer.decodedBytes(CollectionOfOne(id), skipSpecialTokens: false)
            return takePending(upTo: pending.count - Self.unfinishedCount(pending))
        }
        waiting.append(id)
        let text = newText()
        if text.isEmpty || text.suffix(3).elementsEqual("\u{FFFD}".utf8) { return "" }
        given = waiting
        waiting = []
        return String(decoding: text, as: UTF8.self)
    }

    /// Ends the stream.
    ///
    /// - Returns: What was held back; a character that was never completed becomes U+FFFD.
    public mutating func finish() -> String {
        if tokenizer.decodesByteByByte { return takePending(upTo: pending.count) }
        if waiting.isEmpty { return "" }
        let text = newText()
        given += waiting
        waiting = []
        return String(decoding: text, as: UTF8.self)
    }

    private mutating func takePending(upTo count: Int) -> String {
        let text = String(decoding: pending.prefix(count), as: UTF8.self)
        pending.removeFirst(count)
        return text
    }

    /// What the waiting tokens add to the text of the given ones.
    private func newText() -> ArraySlice<UInt8> {
        let before = tokenizer.decodedBytes(given, skipSpecialTokens: false)
        let after = tokenizer.decodedBytes(given + waiting, skipSpecialTokens: false)
        if after.starts(with: before) { return after[before.count...] }
        // A byte token that was complete has become part of an invalid run: give what was not given.
        let common = zip(before, after).prefix { $0 == $1 }.count
        var start = common
        while start > 0, after.indices.contains(start), after[start] & 0xC0 == 0x80 { start -= 1 }
        return after[start...]
    }

    /// How many bytes at the end are the start of a character that more bytes may complete.
    static func unfinishedCount(_ bytes: [UInt8]) -> Int {
        for back in 1...3 where back <= bytes.count {
            let byte = bytes[bytes.count - back]
            if byte & 0xC0 == 0x80 { continue }
            let needed =
                byte >= 0xF0 && byte < 0xF5 ? 4 : byte >= 0xE0 && byte < 0xF0 ? 3 : byte >= 0xC2 && byte < 0xE0 ? 2 : 1
            return needed > back ? back : 0
        }
        return 0
    }
}
