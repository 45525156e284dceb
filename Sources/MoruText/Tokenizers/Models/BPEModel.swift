/// Byte-pair encoding: starts from bytes or characters and merges the neighbours of lowest rank until none is left
/// (Sennrich et al., 2016).
struct BPEModel: Sendable {
    let vocabulary: Vocabulary
    /// Pairs of ids to rank and merged id: `rank << 32 | id`.
    let merges: PairMap
    /// The ids of the 256 bytes, when words are raw bytes; -1 where a byte has none. Else words are characters.
    let byteIDs: [Int32]?
    /// Whole words by raw bytes, when a word in the vocabulary is taken before any merge is tried.
    let wholeWords: Vocabulary?
    let unknown: Int32?
    let fusesUnknown: Bool
    /// The ids of `<0x00>` to `<0xFF>`, when characters out of the vocabulary fall back to bytes; -1 where missing.
    let fallbackIDs: [Int32]?
    let continuingPrefix: [UInt8]
    let endSuffix: [UInt8]

    /// Appends the ids of a word to the buffer.
    func encode(_ bytes: UnsafePointer<UInt8>, _ count: Int, into buffer: MergeBuffer, _ output: IDBuffer) {
        if let wholeWords {
            let id = wholeWords.find(bytes, count)
            if id >= 0 {
                output.append(id)
                return
            }
        }
        buffer.reset(capacity: count)
        if let byteIDs { start(bytes, count, byteIDs, buffer) } else { start(characters: bytes, count, buffer) }
        buffer.merge(merges)
        buffer.write(to: output)
    }

    private func start(_ bytes: UnsafePointer<UInt8>, _ count: Int, _ byteIDs: [Int32], _ buffer: MergeBuffer) {
        byteIDs.withUnsafeBufferPointer { ids in
            var pendingUnknown = false
            for position in 0..<count {
                let id = ids[Int(bytes[position])]
                if id >= 0 {
                    if pendingUnknown, let unknown { buffer.append(unknown) }
                    pendingUnknown = false
                    buffer.append(id)
                } else if unknown != nil {
                    if pendingUnknown, !fusesUnknown, let unknown { buffer.append(unknown) }
                    pendingUnknown = true
                }
            }
            if pendingUnknown, let unknown { buffer.append(unknown) }
        }
    }

    /// Starts from characters. An unknown one is held until a known one comes, so that several may fuse; bytes that
    /// stand in for a character do not end the wait, as in the reference.
    private func start(characters bytes: UnsafePointer<UInt8>, _ count: Int, _ buffer: MergeBuffer) {
        var pendingUnknown = false
        var position = 0
        while position < count {
            let length = decodeScalar(bytes, position, count).length
            let end = position + length
            let id: Int32
            if (continuingPrefix.isEmpty || position == 0) && (endSuffix.isEmpty || end < count) {
                id = vocabulary.find(bytes + position, length)
            } else {
                var piece = position == 0 ? [] : continuingPrefix
                piece.append(contentsOf: UnsafeBufferPointer(start: bytes + position, count: length))
                if end == count { piece.append(contentsOf: endSuffix) }
                id = piece.withUnsafeBufferPointer { vocabulary.find($0) }
            }
            if id >= 0 {
                if pendingUnknown, let unknown { buffer.append(unknown) }
                pendingUnknown = false
                buffer.append(id)
            } else if let fallbackIDs, (position..<end).allSatisfy({ fallbackIDs[Int(bytes[$0])] >= 0 }) {
                for byte in position..<end { buffer.append(fallbackIDs[Int(bytes[byte])]) }
            } else if let unknown {
                if pendingUnknown, !fusesUnknown { buffer.append(unknown) }
                pendingUnknown = true
            }
            position = end
        }
        if pendingUnknown, let unknown { buffer.append(unknown) }
    }
}
