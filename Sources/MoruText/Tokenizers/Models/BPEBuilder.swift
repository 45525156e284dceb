/// Puts together what a BPE model looks up, from either file format.
struct BPEBuilder {
    let vocabulary: Vocabulary
    let merges: PairMap

    /// Adds a merge written `left right`.
    ///
    /// - Parameter prefix: The length of the prefix of continuing pieces, which the right half loses in the merge.
    /// - Returns: What is wrong with the merge, or nil.
    func add(merge: String, rank: Int, prefix: Int = 0) -> String? {
        var merge = merge
        return merge.withUTF8 { bytes in
            guard let space = bytes.firstIndex(of: 0x20), !bytes[(space + 1)...].contains(0x20),
                let base = bytes.baseAddress
            else { return "is not two pieces with a space between" }
            let left = UnsafeBufferPointer(start: base, count: space)
            let right = UnsafeBufferPointer(start: base + space + 1, count: bytes.count - space - 1)
            return add(left, right, rank: rank, prefix: prefix)
        }
    }

    /// Adds a merge of two pieces; see the other overload.
    func add(_ left: [UInt8], _ right: [UInt8], rank: Int, prefix: Int = 0) -> String? {
        left.withUnsafeBufferPointer { left in
            right.withUnsafeBufferPointer { right in add(left, right, rank: rank, prefix: prefix) }
        }
    }

    private func add(
        _ left: UnsafeBufferPointer<UInt8>, _ right: UnsafeBufferPointer<UInt8>, rank: Int, prefix: Int
    ) -> String? {
        guard let leftBase = left.baseAddress, let rightBase = right.baseAddress, left.count > 0, right.count > 0
        else { return "has an empty half" }
        let leftID = vocabulary.find(leftBase, left.count)
        let rightID = vocabulary.find(rightBase, right.count)
        func quoted(_ bytes: UnsafeBufferPointer<UInt8>) -> String { "\"\(String(decoding: bytes, as: UTF8.self))\"" }
        if leftID < 0 { return "names \(quoted(left)), which is not in the vocabulary" }
        if rightID < 0 { return "names \(quoted(right)), which is not in the vocabulary" }
        if right.count < prefix { return "names \(quoted(right)), which lacks the prefix of continuing pieces" }
        let count = left.count + right.count - prefix
        let mergedID = withUnsafeTemporaryAllocation(of: UInt8.self, capacity: count) { merged in
            guard let base = merged.baseAddress else { return Int32(-1) }
            base.update(from: leftBase, count: left.count)
            (base + left.count).update(from: rightBase + prefix, count: right.count - prefix)
            return vocabulary.find(base, count)
        }
        if mergedID < 0 { return "of \(quoted(left)) and \(quoted(right)) gives what is not in the vocabulary" }
        merges.insert(UInt32(leftID), UInt32(rightID), UInt64(rank) << 32 | UInt64(mergedID))
        return nil
    }

    /// Adds every cut of every piece into two pieces, ranked by the score of the whole, as SentencePiece merges.
    func addMerges(scores: [Double], isMergeable: (Int) -> Bool) {
        let order = (0..<vocabulary.size).filter { isMergeable($0) && $0 < scores.count }
            .sorted { scores[$0] > scores[$1] }
        var rank = 0
        var previous: Double?
        for id in order {
            if let previous, scores[id] < previous { rank += 1 }
            previous = scores[id]
            let piece = Array(vocabulary.bytes(of: id))
            piece.withUnsafeBufferPointer { piece in
                guard let base = piece.baseAddress else { return }
                for cut in 1..<max(1, piece.count) where base[cut] & 0xC0 != 0x80 {
                    let left = vocabulary.find(base, cut)
                    if left < 0 || !isMergeable(Int(left)) { continue }
                    let right = vocabulary.find(base + cut, piece.count - cut)
                    if right < 0 || !isMergeable(Int(right)) { continue }
                    merges.insert(UInt32(left), UInt32(right), UInt64(rank) << 32 | UInt64(id))
                }
            }
        }
    }

    /// The id of each byte, written in ``ByteAlphabet``; -1 where it has none.
    func byteIDs() -> [Int32] {
        ByteAlphabet.scalars.map { scalar in
            var piece: [UInt8] = []
            piece.append(scalar: scalar)
            return piece.withUnsafeBufferPointer { vocabulary.find($0) }
        }
    }

    /// The ids of `<0x00>` to `<0xFF>`; -1 where missing.
    func fallbackIDs() -> [Int32] {
        let digits = Array("0123456789ABCDEF".utf8)
        return (0..<256).map { byte in
            let piece = Array("<0x".utf8) + [digits[byte >> 4], digits[byte & 15], UInt8(ascii: ">")]
            return piece.withUnsafeBufferPointer { vocabulary.find($0) }
        }
    }

    /// The vocabulary by raw bytes instead of by ``ByteAlphabet``.
    func wholeWords() -> Vocabulary {
        let words = Vocabulary(minimumCapacity: vocabulary.size)
        var bytes: [UInt8] = []
        for id in 0..<vocabulary.size {
            bytes.removeAll(keepingCapacity: true)
            if vocabulary.contains(id: id), ByteAlphabet.decode(vocabulary.bytes(of: id), into: &bytes), !bytes.isEmpty
            {
                bytes.withUnsafeBufferPointer { _ = words.insert($0, id: id) }
            }
        }
        return words
    }
}
