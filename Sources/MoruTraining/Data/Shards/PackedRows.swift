import MoruBase

/// Documents packed into rows: every row reads up to `length` tokens of one document after the other, each a sequence
/// of its own, so that attention and positions restart and no document sees another.
///
/// A document goes on in the next row where a row ends; there it begins without what came before. Every token but the
/// first of a document is learnt exactly once, and every row has something to learn. Rows do not cross shards, so the
/// last of a shard may be shorter.
public struct PackedRows: ExampleSet {
    /// Where the shards lie.
    public let source: String
    /// The tokens that a row reads.
    public let length: Int
    private let shards: [MappedShard]
    /// The number of the first row of each shard, then that of all.
    private let firstRows: [Int]

    init(_ source: String, _ shards: [MappedShard], length: Int) {
        precondition(length > 1, "rows of \(length) tokens")
        self.source = source
        self.shards = shards
        self.length = length
        // A row begins at every `length`-th token that has one after it
        let counts = shards.map { ($0.tokenCount - 1 + length - 1) / length }
        firstRows = counts.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1) }
    }

    /// The number of rows.
    public var count: Int { firstRows[firstRows.count - 1] }

    /// The tokens of a row; the last of a document is not read, since nothing is learnt from it.
    public func size(of index: Int) -> ExampleSize {
        let (shard, row) = place(of: index)
        let tokens = shard.sequenceRanges(row: row, length: length).reduce(0) { $0 + $1.count - 1 }
        return ExampleSize(inputs: tokens, targets: tokens)
    }

    /// The sequences of a row: the parts of documents that lie in it.
    public func sequences(of index: Int) -> [TokenizedExample] {
        let (shard, row) = place(of: index)
        return shard.sequenceRanges(row: row, length: length).filter { $0.count > 1 }.map(shard.example)
    }

    /// A hash of the shards' checksums and of the length.
    public var fingerprintText: String {
        var fingerprint = Fingerprint()
        for shard in shards { fingerprint.add(shard.checksum) }
        fingerprint.add(length)
        return fingerprint.description
    }

    private func place(of index: Int) -> (shard: MappedShard, row: Int) {
        precondition(0..<count ~= index, "row \(index) of \(count)")
        let shard = firstRows.dropLast().lastPlace(notAbove: index)
        return (shards[shard], index - firstRows[shard])
    }
}

extension RandomAccessCollection where Element == Int, Index == Int {
    /// The last place of ascending numbers, the first of which is 0, that holds one not above another.
    func lastPlace(notAbove number: Int) -> Int {
        var (low, high) = (startIndex, endIndex)
        while high - low > 1 {
            let middle = (low + high) / 2
            if self[middle] <= number { low = middle } else { high = middle }
        }
        return low
    }
}
