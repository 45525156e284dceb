/// A text and where each of its bytes came from, through any number of rewritings.
struct AlignedText {
    /// The text as it is now.
    private(set) var bytes: [UInt8]
    /// For each byte, the bytes of the first text that it came from; empty for what was put in.
    private(set) var origins: [Range<Int>]

    /// A text as it is, as a part of another that begins at an offset.
    init(_ bytes: [UInt8], at offset: Int) {
        self.bytes = bytes
        origins = bytes.indices.map { offset + $0..<offset + $0 + 1 }
    }

    /// Appends another text.
    mutating func append(_ other: AlignedText) {
        bytes += other.bytes
        origins += other.origins
    }

    /// Appends what came from somewhere as a whole.
    mutating func append(_ more: [UInt8], from origin: Range<Int>) {
        bytes += more
        origins += Array(repeating: origin, count: more.count)
    }

    private init() { (bytes, origins) = ([], []) }

    fileprivate func origin(of range: Range<Int>) -> Range<Int> {
        let parts = origins[range]
        let begin = parts.map(\.lowerBound).min() ?? origins.first?.lowerBound ?? 0
        return begin..<max(begin, parts.map(\.upperBound).max() ?? begin)
    }

    fileprivate func slice(_ range: Range<Int>) -> AlignedText {
        var part = AlignedText()
        (part.bytes, part.origins) = (Array(bytes[range]), Array(origins[range]))
        return part
    }
}

extension Normalizer {
    /// Rewrites a text as ``apply(_:)`` does, and keeps track of where everything came from.
    func apply(_ text: AlignedText) -> AlignedText {
        switch self {
        case .sequence(let steps): return steps.reduce(text) { $1.apply($0) }
        case .prepend(let prefix):
            guard let first = text.origins.first else { return text }
            var result = text.slice(0..<0)
            result.append(prefix, from: first.lowerBound..<first.lowerBound)
            result.append(text)
            return result
        case .strip(let left, _):
            let kept = apply(text.bytes)
            let begin = left ? text.bytes.firstPlace(of: kept) : 0
            return text.slice(begin..<begin + kept.count)
        case .replace(let pattern, let replacement): return replacing(pattern, replacement, in: text)
        default: return mapping(text)
        }
    }

    private func replacing(_ pattern: TextPattern, _ replacement: [UInt8], in text: AlignedText) -> AlignedText {
        var result = text.slice(0..<0)
        let count = text.bytes.count
        text.bytes.withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            var position = 0
            pattern.forEachMatch(in: base, count) { match in
                result.append(text.slice(position..<match.start))
                result.append(replacement, from: text.origin(of: match.start..<match.end))
                position = match.end
            }
            result.append(text.slice(position..<count))
        }
        return result
    }

    /// Rewrites the text in the smallest parts that give what the whole gives: scalars with the marks that follow, or
    /// characters, or words; what cannot be told apart counts as one.
    private func mapping(_ text: AlignedText) -> AlignedText {
        let whole = apply(text.bytes)
        if whole == text.bytes { return text }
        for cuts in [text.bytes.clusterStarts, text.bytes.characterStarts, text.bytes.wordStarts] {
            var result = text.slice(0..<0)
            for (begin, end) in zip(cuts, cuts.dropFirst() + [text.bytes.count]) {
                result.append(apply(Array(text.bytes[begin..<end])), from: text.origin(of: begin..<end))
            }
            if result.bytes == whole { return result }
        }
        var result = text.slice(0..<0)
        result.append(whole, from: text.origin(of: 0..<text.bytes.count))
        return result
    }
}

extension [UInt8] {
    /// Where scalars begin that are no marks on the one before.
    fileprivate var clusterStarts: [Int] {
        scalarStarts { value, position in position == 0 || !UnicodeTable.version9.isIn(.mark, value) }
    }

    /// Where words begin: at the first white space after something else.
    fileprivate var wordStarts: [Int] {
        var isInSpace = false
        return scalarStarts { value, position in
            let wasInSpace = isInSpace
            isInSpace = UnicodeTable.shared.isWhitespace(value)
            return position == 0 || isInSpace && !wasInSpace
        }
    }

    /// Where characters begin as Unicode has them (UAX #29).
    fileprivate var characterStarts: [Int] {
        var (starts, position): ([Int], Int) = ([], 0)
        for character in String(decoding: self, as: UTF8.self) {
            starts.append(position)
            position += character.utf8.count
        }
        return position == count ? starts : []
    }

    private func scalarStarts(where isStart: (UInt32, Int) -> Bool) -> [Int] {
        withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return [] }
            var (starts, position): ([Int], Int) = ([], 0)
            while position < buffer.count {
                let (value, length) = decodeScalar(base, position, buffer.count)
                if isStart(value, position) { starts.append(position) }
                position += length
            }
            return starts
        }
    }

    /// Where a part of the text begins that is known to be in it.
    fileprivate func firstPlace(of part: [UInt8]) -> Int {
        indices.first { self[$0...].starts(with: part) } ?? 0
    }
}
