/// What one call of encode works with: buffers and a cache of words. Unchecked: sessions are pooled by their tokenizer,
/// which hands each to one call at a time.
final class EncodingSession: @unchecked Sendable {
    private let parts: TokenizerParts
    private let table = UnicodeTable.shared
    private let merges = MergeBuffer()
    private let cache = WordCache()
    private var sections: [AddedTokenMatcher.Section] = []
    private let output = IDBuffer()

    init(_ parts: TokenizerParts) { self.parts = parts }

    /// The ids of a text, with the added tokens found but without those of the post-processor.
    func encode(_ text: UnsafeBufferPointer<UInt8>, parsesSpecial: Bool) -> UnsafeBufferPointer<Int32> {
        output.removeAll()
        guard let bytes = text.baseAddress, text.count > 0 else { return UnsafeBufferPointer(start: nil, count: 0) }
        if parts.rawTokens.isEmpty {
            encode(section: bytes, text.count, atStart: true, parsesSpecial)
        } else {
            sections.removeAll(keepingCapacity: true)
            parts.rawTokens.split(bytes, text.count, parsesSpecial: parsesSpecial, into: &sections)
            for section in sections {
                if section.id >= 0 {
                    output.append(section.id)
                } else {
                    let count = section.end - section.start
                    encode(section: bytes + section.start, count, atStart: section.start == 0, parsesSpecial)
                }
            }
        }
        return UnsafeBufferPointer(start: output.base, count: output.count)
    }

    private func encode(section bytes: UnsafePointer<UInt8>, _ count: Int, atStart: Bool, _ parsesSpecial: Bool) {
        guard let normalizer = parts.normalizer else {
            encode(normalized: bytes, count, atStart: atStart, parsesSpecial)
            return
        }
        let normalized = normalizer.apply(Array(UnsafeBufferPointer(start: bytes, count: count)))
        normalized.withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            encode(normalized: base, buffer.count, atStart: atStart, parsesSpecial)
        }
    }

    private func encode(normalized bytes: UnsafePointer<UInt8>, _ count: Int, atStart: Bool, _ parsesSpecial: Bool) {
        if count == 0 { return }
        if parts.normalizedTokens.isEmpty {
            cut(bytes, count, step: 0, atStart: atStart)
            return
        }
        var sections: [AddedTokenMatcher.Section] = []
        parts.normalizedTokens.split(bytes, count, parsesSpecial: parsesSpecial, into: &sections)
        for section in sections {
            if section.id >= 0 {
                output.append(section.id)
            } else {
                let isFirst = atStart && section.start == 0
                cut(bytes + section.start, section.end - section.start, step: 0, atStart: isFirst)
            }
        }
    }

    /// Cuts text by the pre-tokenizers from `step` on and encodes the words that are left.
    private func cut(_ bytes: UnsafePointer<UInt8>, _ count: Int, step: Int, atStart: Bool) {
        if count == 0 { return }
        guard step < parts.preTokenizers.count else {
            encode(word: bytes, count)
            return
        }
        switch parts.preTokenizers[step] {
        case .scan(let scanner): scan(scanner, bytes, count, step: step, atStart: atStart)
        case .byteLevel(let addsPrefixSpace, let splits):
            cut(byteLevel: bytes, count, step, atStart, addsPrefixSpace: addsPrefixSpace, splits: splits)
        case .classes(let classes): cut(classes, bytes, count, step: step, atStart: atStart)
        case .split(let pattern, let behavior, let inverted):
            var pieces: [PreTokenizer.Behavior.Piece] = []
            var position = 0
            pattern.forEachMatch(in: bytes, count) { match in
                if match.start > position { pieces.append(.init(start: position, end: match.start, isMatch: inverted)) }
                pieces.append(.init(start: match.start, end: match.end, isMatch: !inverted))
                position = match.end
            }
            if position < count { pieces.append(.init(start: position, end: count, isMatch: inverted)) }
            for piece in behavior.arrange(pieces) {
                cut(bytes + piece.start, piece.end - piece.start, step: step + 1, atStart: atStart && piece.start == 0)
            }
        case .metaspace(let mark, let scheme, let splits):
            cut(metaspace: bytes, count, step, atStart, mark, scheme, splits: splits)
        }
    }

    private func scan(
        _ scanner: WordScanner, _ bytes: UnsafePointer<UInt8>, _ count: Int, step: Int, atStart: Bool
    ) {
        var position = 0
        // The last cut of a byte-level model: straight to the words.
        let isLast =
            step + 1 == parts.preTokenizers.count || (step + 2 == parts.preTokenizers.count && parts.endsInPlainBytes)
        while position < count {
            let end = scanner.wordEnd(bytes, position, count, table)
            if isLast {
                encode(word: bytes + position, end - position)
            } else {
                cut(bytes + position, end - position, step: step + 1, atStart: atStart && position == 0)
            }
            position = end
        }
    }

    private func cut(
        byteLevel bytes: UnsafePointer<UInt8>, _ count: Int, _ step: Int, _ atStart: Bool, addsPrefixSpace: Bool,
        splits: Bool
    ) {
        if addsPrefixSpace, bytes[0] != 0x20 {
            let text = [0x20] + UnsafeBufferPointer(start: bytes, count: count)
            text.withUnsafeBufferPointer { buffer in
                guard let base = buffer.baseAddress else { return }
                cut(byteLevel: base, buffer.count, step, atStart, addsPrefixSpace: false, splits: splits)
            }
            return
        }
        if splits, parts.modelReadsBytes {
            scan(.gpt2, bytes, count, step: step, atStart: atStart)
            return
        }
        var position = 0
        while position < count {
            let end = splits ? WordScanner.gpt2.wordEnd(bytes, position, count, table) : count
            if parts.modelReadsBytes {
                encode(word: bytes + position, end - position)
            } else {
                let text = ByteAlphabet.encode(UnsafeBufferPointer(start: bytes + position, count: end - position))
                text.withUnsafeBufferPointer { buffer in
                    guard let base = buffer.baseAddress else { return }
                    cut(base, buffer.count, step: step + 1, atStart: atStart && position == 0)
                }
            }
            position = end
        }
    }

    private func cut(
        _ classes: PreTokenizer.ScalarClasses, _ bytes: UnsafePointer<UInt8>, _ count: Int, step: Int, atStart: Bool
    ) {
        let behavior = classes.behavior
        if case .punctuation = classes, behavior != .isolated, behavior != .contiguous {
            var pieces: [PreTokenizer.Behavior.Piece] = []
            var position = 0
            while position < count {
                let (value, length) = decodeScalar(bytes, position, count)
                let isMatch = classes.kind(of: value, table) == 1
                if !isMatch, let last = pieces.last, !last.isMatch {
                    pieces[pieces.count - 1].end += length
                } else {
                    pieces.append(.init(start: position, end: position + length, isMatch: isMatch))
                }
                position += length
            }
            for piece in behavior.arrange(pieces) {
                cut(bytes + piece.start, piece.end - piece.start, step: step + 1, atStart: atStart && piece.start == 0)
            }
            return
        }
        var start = 0
        var position = 0
        var runKind = 2
        while position < count {
            let (value, length) = decodeScalar(bytes, position, count)
            let kind = classes.kind(of: value, table)
            if kind != runKind || (kind == 1 && behavior == .isolated) {
                if runKind != 2 {
                    cut(bytes + start, position - start, step: step + 1, atStart: atStart && start == 0)
                }
                start = position
                runKind = kind
            }
            position += length
        }
        if runKind != 2 { cut(bytes + start, count - start, step: step + 1, atStart: atStart && start == 0) }
    }

    private func cut(
        metaspace bytes: UnsafePointer<UInt8>, _ count: Int, _ step: Int, _ atStart: Bool, _ mark: [UInt8],
        _ scheme: PreTokenizer.PrependScheme, splits: Bool
    ) {
        var text: [UInt8] = []
        text.reserveCapacity(count + count / 2 + mark.count)
        for position in 0..<count {
            if bytes[position] == 0x20 { text.append(contentsOf: mark) } else { text.append(bytes[position]) }
        }
        let prepends = scheme == .always || (scheme == .first && atStart)
        if prepends, !text.starts(with: mark) { text.insert(contentsOf: mark, at: 0) }
        text.withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            var start = 0
            var position = 1
            while splits, position < buffer.count {
                if base[position] == mark[0], position + mark.count <= buffer.count,
                    mark.withUnsafeBufferPointer({ mark in
                        mark.baseAddress.map { spansEqual(base + position, $0, mark.count) } ?? false
                    })
                {
                    cut(base + start, position - start, step: step + 1, atStart: atStart && start == 0)
                    start = position
                }
                position += 1
            }
            cut(base + start, buffer.count - start, step: step + 1, atStart: atStart && start == 0)
        }
    }

    @inline(__always)
    private func encode(word bytes: UnsafePointer<UInt8>, _ count: Int) {
        guard count <= WordCache.maximumLength else {
            encode(uncached: bytes, count)
            return
        }
        let hash = spanHash(bytes, count)
        if cache.find(bytes, count, hash, output) { return }
        let start = output.count
        encode(uncached: bytes, count)
        cache.insert(bytes, count, hash, UnsafePointer(output.base + start), output.count - start)
    }

    private func encode(uncached bytes: UnsafePointer<UInt8>, _ count: Int) {
        switch parts.model {
        case .bpe(let model): model.encode(bytes, count, into: merges, output)
        case .unigram(let model): model.encode(bytes, count, output)
        case .wordPiece(let model): model.encode(bytes, count, output)
        case .wordLevel(let model): model.encode(bytes, count, output)
        }
    }
}
