import MoruText

/// Follows tokens through the text that they make up: where does each begin?
struct TokenOffsets: Sendable {
    private var detokenizer: StreamingDetokenizer
    private var offset: Int

    /// Starts at an offset.
    init(tokenizer: Tokenizer, skipSpecialTokens: Bool, startingAt offset: Int = 0) {
        detokenizer = StreamingDetokenizer(tokenizer: tokenizer, skipSpecialTokens: skipSpecialTokens)
        self.offset = offset
    }

    /// The offset of the next token, in Unicode scalars. A token within a character begins where the character does.
    mutating func next(_ id: Int32) -> Int {
        defer { offset += detokenizer.append(id).unicodeScalars.count }
        return offset
    }
}
