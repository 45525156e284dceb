/// A token that is cut out of the text before the model sees it.
struct AddedToken: Sendable {
    let id: Int32
    var content: [UInt8]
    let isSpecial: Bool
    var isSingleWord = false
    var stripsLeft = false
    var stripsRight = false
    /// Whether it is looked for in the normalized text (its own content normalized too) rather than in the raw.
    var isNormalized = false
}

/// Finds added tokens in text: the leftmost, and of those that start there the longest.
struct AddedTokenMatcher: Sendable {
    /// A stretch of text: an added token, or (with id -1) text between them.
    struct Section {
        var id: Int32
        var start: Int
        var end: Int
    }

    private let tokens: [AddedToken]
    private let edges = PairMap()
    /// For each node of the trie, the index of the token that ends there, or -1.
    private let ends: [Int32]
    private let startsToken: [Bool]

    var isEmpty: Bool { tokens.isEmpty }

    init(_ tokens: [AddedToken]) {
        self.tokens = tokens
        var ends: [Int32] = [-1]
        var startsToken = [Bool](repeating: false, count: 256)
        for (index, token) in tokens.enumerated() {
            guard let first = token.content.first else { continue }
            startsToken[Int(first)] = true
            let node = edges.insertPath(token.content, ends: &ends)
            if ends[node] < 0 { ends[node] = Int32(index) }
        }
        self.ends = ends
        self.startsToken = startsToken
    }

    /// Cuts the text into sections that cover it.
    ///
    /// - Parameter parsesSpecial: Whether special tokens count; when not, their text is text like any other.
    func split(_ bytes: UnsafePointer<UInt8>, _ count: Int, parsesSpecial: Bool, into sections: inout [Section]) {
        var position = 0
        var covered = 0
        startsToken.withUnsafeBufferPointer { startsToken in
            while position < count {
                if !startsToken[Int(bytes[position])] {
                    position += 1
                    continue
                }
                guard let (index, length) = longestMatch(bytes, position, count) else {
                    position += 1
                    continue
                }
                let token = tokens[index]
                var start = position
                var end = position + length
                position = end
                if token.isSpecial, !parsesSpecial { continue }
                if token.isSingleWord, touchesWord(bytes, start, end, count) { continue }
                let table = UnicodeTable.shared
                while token.stripsLeft, start > covered {
                    let previous = scalarStart(before: start, bytes, from: covered)
                    guard table.isWhitespace(decodeScalar(bytes, previous, start).value) else { break }
                    start = previous
                }
                while token.stripsRight, end < count {
                    let (value, length) = decodeScalar(bytes, end, count)
                    guard table.isWhitespace(value) else { break }
                    end += length
                }
                if start > covered { sections.append(Section(id: -1, start: covered, end: start)) }
                sections.append(Section(id: token.id, start: max(start, covered), end: end))
                covered = max(covered, end)
            }
        }
        if covered < count { sections.append(Section(id: -1, start: covered, end: count)) }
    }

    private func longestMatch(
        _ bytes: UnsafePointer<UInt8>, _ start: Int, _ count: Int
    ) -> (index: Int, length: Int)? {
        var best: (index: Int, length: Int)?
        var node: UInt32 = 0
        var position = start
        while position < count {
            let next = edges.find(node, UInt32(bytes[position]))
            if next == PairMap.missing { break }
            node = UInt32(next)
            position += 1
            if ends[Int(node)] >= 0 { best = (Int(ends[Int(node)]), position - start) }
        }
        return best
    }

    private func touchesWord(_ bytes: UnsafePointer<UInt8>, _ start: Int, _ end: Int, _ count: Int) -> Bool {
        let table = UnicodeTable.shared
        if start > 0 {
            let previous = scalarStart(before: start, bytes, from: 0)
            if table.isWord(decodeScalar(bytes, previous, start).value) { return true }
        }
        return end < count && table.isWord(decodeScalar(bytes, end, count).value)
    }
}
