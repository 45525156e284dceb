import MoruBase

/// A shard's files, mapped; see ``TokenShards``.
final class MappedShard: Sendable {
    let tokenCount: Int
    let documentCount: Int
    let longestDocument: Int
    let checksum: String
    private let tokenBytes: Int
    private let tokens: MappedFile
    private let ends: MappedFile
    private let marks: MappedFile?

    init(_ directory: String, _ number: Int, _ manifest: ShardManifest, verifying: Bool) throws(MoruError) {
        let shard = manifest.shards[number]
        func open(_ kind: String, _ size: Int) throws(MoruError) -> MappedFile {
            let file = try MappedFile(path: "\(directory)/\(ShardManifest.fileName(kind, number))")
            guard file.bytes.count == size else {
                throw Self.damaged(file.path, "\(file.bytes.count) bytes, not \(size)")
            }
            return file
        }
        (tokenCount, documentCount, checksum) = (shard.tokens, shard.documents, shard.checksum)
        tokenBytes = manifest.tokenBytes
        tokens = try open("tokens", shard.tokens * manifest.tokenBytes)
        ends = try open("ends", shard.documents * 8)
        marks = manifest.isMasked ? try open("marks", shard.tokens) : nil
        var (last, longest) = (0, 0)
        for document in 0..<documentCount {
            let end = Self.end(of: document, ends)
            guard end > last, end <= tokenCount else {
                throw Self.damaged(ends.path, "documents that end before they begin")
            }
            longest = max(longest, end - last)
            last = end
        }
        longestDocument = longest
        guard last == tokenCount else { throw Self.damaged(ends.path, "\(last) tokens, not \(tokenCount)") }
        guard verifying else { return }
        var found = Fingerprint()
        for file in [tokens, ends] + (marks.map { [$0] } ?? []) { found.add(bytes: file.bytes) }
        guard found.description == checksum else {
            throw Self.damaged(tokens.path, "other content than the manifest says")
        }
    }

    private static func damaged(_ path: String, _ what: String) -> MoruError {
        MoruError(.shardsMalformed, "\(path) has \(what)", remedy: "remove the directory and tokenise the data again")
    }

    private func end(of document: Int) -> Int { Self.end(of: document, ends) }

    private static func end(of document: Int, _ ends: MappedFile) -> Int {
        // A value too large becomes one that is refused
        Int(clamping: UInt64(littleEndian: ends.bytes.loadUnaligned(fromByteOffset: document * 8, as: UInt64.self)))
    }

    func tokens(ofDocument document: Int) -> Range<Int> {
        (document > 0 ? end(of: document - 1) : 0)..<end(of: document)
    }

    /// The tokens of each document that a row reads, with the one after them where the document goes on.
    func sequenceRanges(row: Int, length: Int) -> [Range<Int>] {
        let begin = row * length
        let limit = min(begin + length, tokenCount)
        var ranges: [Range<Int>] = []
        var document = firstDocument(endingAfter: begin)
        var first = begin
        while first < limit {
            let end = end(of: document)
            ranges.append(first..<min(end, limit + 1))
            first = end
            document += 1
        }
        return ranges
    }

    private func firstDocument(endingAfter token: Int) -> Int {
        var (low, high) = (0, documentCount - 1)
        while low < high {
            let middle = (low + high) / 2
            if end(of: middle) > token { high = middle } else { low = middle + 1 }
        }
        return low
    }

    func example(_ range: Range<Int>) -> TokenizedExample {
        let ids = range.map { position in
            tokenBytes == 2
                ? Int32(UInt16(littleEndian: tokens.bytes.loadUnaligned(fromByteOffset: position * 2, as: UInt16.self)))
                : Int32(
                    truncatingIfNeeded: UInt32(
                        littleEndian: tokens.bytes.loadUnaligned(fromByteOffset: position * 4, as: UInt32.self)))
        }
        guard let marks else {
            return TokenizedExample(tokens: ids, isTarget: Array(repeating: true, count: ids.count))
        }
        return TokenizedExample(tokens: ids, isTarget: marks.bytes[range].map { $0 != 0 })
    }
}
