/// A text's tokens, and where each stands in it.
public struct TokenizedText: Sendable, Hashable {
    /// The ids.
    public var ids: [Int32]
    /// For each token the Unicode scalars of the text that it stands for, without the white space around them, counted
    /// as Python counts characters; nil for a token that the post-processor put there, such as `[CLS]`.
    ///
    /// A token of a part of a character has the whole character, a token of white space alone an empty range.
    public var ranges: [Range<Int>?]

    /// The tokens of a sequence of at most so many, cut before those that the post-processor put at its end.
    public func prefix(_ limit: Int) -> TokenizedText {
        guard ids.count > limit else { return self }
        let end = (ranges.lastIndex { $0 != nil } ?? -1) + 1
        let kept = max(0, limit - (ids.count - end))
        return TokenizedText(
            ids: Array((ids[..<kept] + ids[end...]).prefix(limit)),
            ranges: Array((ranges[..<kept] + ranges[end...]).prefix(limit)))
    }
}

extension Tokenizer {
    /// The ids of a text as ``encode(_:addSpecialTokens:parseSpecial:)`` gives them, and where each stands in it.
    ///
    /// The text is followed through the tokenizer's normalisation, and the tokens through what it makes of the text. A
    /// token for what the vocabulary does not have stands for what lies between its neighbours, of BERT's kind for a
    /// whole word.
    public func encodeWithOffsets(
        _ text: String, addSpecialTokens: Bool = true, parseSpecial: Bool = true
    ) -> TokenizedText {
        let ids = encode(text, addSpecialTokens: false, parseSpecial: parseSpecial)
        let bytes = Array(text.utf8)
        var walk = TokenWalk(self, normalized(bytes, parsesSpecial: parseSpecial))
        let scalars = ScalarPlaces(bytes)
        var result = TokenizedText(ids: [], ranges: [])
        let around = addSpecialTokens ? (core.parts.prefix, core.parts.suffix) : ([], [])
        result.ids = around.0 + ids + around.1
        result.ranges = around.0.map { _ in nil }
        for (index, id) in ids.enumerated() {
            result.ranges.append(scalars.range(of: walk.place(of: id, before: ids[(index + 1)...]), trimming: bytes))
        }
        result.ranges += around.1.map { _ in nil }
        return result
    }

    /// The text as the model sees it before it is cut into words, added tokens as they are.
    private func normalized(_ bytes: [UInt8], parsesSpecial: Bool) -> AlignedText {
        let parts = core.parts
        var sections: [AddedTokenMatcher.Section] = []
        bytes.withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            parts.rawTokens.split(base, buffer.count, parsesSpecial: parsesSpecial, into: &sections)
        }
        var result = AlignedText([], at: 0)
        for section in sections {
            let range = section.start..<section.end
            if section.id >= 0 {
                result.append(parts.addedByID[section.id]?.content ?? [], from: range)
            } else {
                let text = AlignedText(Array(bytes[range]), at: section.start)
                result.append(parts.normalizer?.apply(text) ?? text)
            }
        }
        return result
    }
}

/// Goes through a normalised text token by token.
private struct TokenWalk {
    private let tokenizer: Tokenizer
    private let text: AlignedText
    private var position = 0
    /// What SentencePiece writes in place of a space; empty for other kinds.
    private let mark: [UInt8]

    init(_ tokenizer: Tokenizer, _ text: AlignedText) {
        self.tokenizer = tokenizer
        self.text = text
        switch tokenizer.core.parts.model {
        case .bpe, .unigram: mark = Array("\u{2581}".utf8)
        case .wordPiece, .wordLevel: mark = []
        }
    }

    /// The bytes of the original text that the next token stands for.
    mutating func place(of id: Int32, before rest: ArraySlice<Int32>) -> Range<Int> {
        var content = content(of: id)
        // Where the text has marks for spaces, so has the piece
        if !mark.isEmpty, content.first == 0x20, matches(mark, at: position) {
            content = tokenizer.core.parts.piece(id) ?? content
        }
        if matches(content, at: position) { return take(position..<position + content.count) }
        let (core, begin) = (withoutSpace(content), positionAfterSpace)
        // White space that is not there is one that the tokenizer put in
        if core.isEmpty { return take(position..<position) }
        if matches(core, at: begin) { return take(begin..<begin + core.count) }
        return takeUnknown(before: rest)
    }

    /// What stands in the normalised text for a token; for an unknown one only where the text spells it.
    private func content(of id: Int32) -> [UInt8] {
        tokenizer.core.parts.addedByID[id]?.content ?? tokenizer.bytes(of: id)
    }

    /// Something unknown: a word of BERT's kind, or what lies before the next token that is known.
    private mutating func takeUnknown(before rest: ArraySlice<Int32>) -> Range<Int> {
        let begin = positionAfterSpace
        var end = begin
        switch tokenizer.core.parts.model {
        case .wordPiece, .wordLevel: end = wordEnd(from: begin)
        case .bpe, .unigram:
            end = scalarEnd(begin)
            // One of several unknown ones in a row is a single character; the last goes on to what is known, or a space
            if let next = rest.first, next == tokenizer.unknown { break }
            let next = rest.first.map { withoutSpace(content(of: $0)) } ?? []
            while end < text.bytes.count, next.isEmpty || !matches(next, at: end), !isSpace(at: end) {
                end = scalarEnd(end)
            }
        }
        return take(begin..<max(begin, end))
    }

    private mutating func take(_ range: Range<Int>) -> Range<Int> {
        position = range.upperBound
        let origins = text.origins[range]
        guard let begin = origins.map(\.lowerBound).min(), let end = origins.map(\.upperBound).max() else {
            let place = text.origins.indices.contains(position) ? text.origins[position].lowerBound : text.end
            return place..<place
        }
        return begin..<end
    }

    private func matches(_ content: [UInt8], at place: Int) -> Bool { text.bytes[place...].starts(with: content) }

    private var positionAfterSpace: Int {
        var place = position
        while place < text.bytes.count, isSpace(at: place) { place = scalarEnd(place) }
        return place
    }

    private func isSpace(at place: Int) -> Bool {
        !mark.isEmpty && text.bytes[place...].starts(with: mark) || UnicodeTable.shared.isWhitespace(scalar(at: place))
    }

    private func withoutSpace(_ content: [UInt8]) -> [UInt8] {
        var rest = content[...]
        while true {
            if !mark.isEmpty, rest.starts(with: mark) {
                rest = rest.dropFirst(mark.count)
            } else if let first = rest.first, first == 0x20 || 0x09...0x0D ~= first {
                rest = rest.dropFirst()
            } else {
                return Array(rest)
            }
        }
    }

    /// The end of the run of scalars that a word of the pre-tokenizer is; a punctuation mark is a word of its own.
    private func wordEnd(from begin: Int) -> Int {
        let classes = tokenizer.core.parts.preTokenizers.compactMap { step -> PreTokenizer.ScalarClasses? in
            if case .classes(let classes) = step { classes } else { nil }
        }
        func kinds(_ place: Int) -> [Int] {
            let value = scalar(at: place)
            return classes.map { $0.kind(of: value, .shared) }
        }
        guard begin < text.bytes.count else { return begin }
        let first = kinds(begin)
        var end = scalarEnd(begin)
        let isAlone = zip(first, classes).contains { $0 == 1 && $1.behavior == .isolated }
        while !isAlone, end < text.bytes.count, kinds(end) == first,
            !UnicodeTable.shared.isWhitespace(scalar(at: end))
        {
            end = scalarEnd(end)
        }
        return end
    }

    private func scalar(at place: Int) -> UInt32 {
        text.bytes.withUnsafeBufferPointer { buffer in
            buffer.baseAddress.map { decodeScalar($0, place, buffer.count).value } ?? UnicodeTable.invalid
        }
    }

    private func scalarEnd(_ place: Int) -> Int {
        guard place < text.bytes.count else { return text.bytes.count }
        return text.bytes.withUnsafeBufferPointer { buffer in
            buffer.baseAddress.map { place + decodeScalar($0, place, buffer.count).length } ?? place
        }
    }
}

extension AlignedText {
    /// Where the original text ends, as far as it is known here.
    fileprivate var end: Int { origins.last?.upperBound ?? 0 }
}

/// Bytes of a text as its Unicode scalars.
private struct ScalarPlaces {
    /// For each byte, and for the end, the number of scalars that begin before or at it.
    private let counts: [Int]

    init(_ bytes: [UInt8]) {
        var (counts, count): ([Int], Int) = ([], 0)
        counts.reserveCapacity(bytes.count + 1)
        for byte in bytes {
            if byte & 0xC0 != 0x80 { count += 1 }
            counts.append(count)
        }
        self.counts = counts + [count + 1]
    }

    /// The scalars of some bytes, without the white space at either end.
    func range(of range: Range<Int>, trimming bytes: [UInt8]) -> Range<Int> {
        var (begin, end) = (range.lowerBound, range.upperBound)
        bytes.withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            while begin < end {
                let (value, length) = decodeScalar(base, begin, buffer.count)
                guard UnicodeTable.shared.isWhitespace(value) else { break }
                begin += length
            }
            while begin < end {
                let last = scalarStart(before: end, base, from: begin)
                guard UnicodeTable.shared.isWhitespace(decodeScalar(base, last, end).value) else { break }
                end = last
            }
        }
        let first = counts[min(begin, bytes.count)] - 1
        return begin >= end ? first..<first : first..<counts[end - 1]
    }
}
