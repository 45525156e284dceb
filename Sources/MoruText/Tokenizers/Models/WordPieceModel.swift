/// WordPiece: the longest piece of the vocabulary that begins a word, then the longest that goes on, and so on
/// (Schuster & Nakajima, 2012, as BERT uses it). A word that cannot be covered is one unknown token.
struct WordPieceModel: Sendable {
    let vocabulary: Vocabulary
    let unknown: Int32
    let continuingPrefix: [UInt8]
    let maximumCharacters: Int

    func encode(_ bytes: UnsafePointer<UInt8>, _ count: Int, _ output: IDBuffer) {
        var characters = 0
        for position in 0..<count where bytes[position] & 0xC0 != 0x80 { characters += 1 }
        if characters > maximumCharacters {
            output.append(unknown)
            return
        }
        var ids: [Int32] = []
        var piece: [UInt8] = []
        var start = 0
        while start < count {
            piece.removeAll(keepingCapacity: true)
            if start > 0 { piece.append(contentsOf: continuingPrefix) }
            let prefix = piece.count
            piece.append(contentsOf: UnsafeBufferPointer(start: bytes + start, count: count - start))
            var end = count
            var found: Int32 = -1
            piece.withUnsafeBufferPointer { piece in
                guard let base = piece.baseAddress else { return }
                while end > start {
                    found = vocabulary.find(base, prefix + end - start)
                    if found >= 0 { return }
                    end = scalarStart(before: end, bytes, from: start)
                }
            }
            if found < 0 {
                output.append(unknown)
                return
            }
            ids.append(found)
            start = end
        }
        for id in ids { output.append(id) }
    }
}

/// A model that knows whole words only.
struct WordLevelModel: Sendable {
    let vocabulary: Vocabulary
    let unknown: Int32

    func encode(_ bytes: UnsafePointer<UInt8>, _ count: Int, _ output: IDBuffer) {
        let id = vocabulary.find(bytes, count)
        output.append(id >= 0 ? id : unknown)
    }
}

/// What turns a word into ids.
enum TokenizerModel: Sendable {
    case bpe(BPEModel)
    case unigram(UnigramModel)
    case wordPiece(WordPieceModel)
    case wordLevel(WordLevelModel)
}
