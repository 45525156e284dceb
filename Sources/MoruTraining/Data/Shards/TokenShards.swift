import MoruBase
import MoruText

/// Tokenised documents in files that are mapped into memory, so that they may be larger than it:
///
///     manifest.json     what the documents are and what tokenised them
///     tokens-00000.bin  the ids of a shard's documents one after the other, little-endian u16 or u32
///     ends-00000.bin    where each document ends, counted in tokens of the shard, little-endian u64
///     marks-00000.bin   a byte for each token, 1 where it is learnt; only where not all are
public struct TokenShards: Sendable {
    /// Where they lie.
    public let path: String
    /// What they are.
    public let manifest: ShardManifest
    private let shards: [MappedShard]
    /// The number of the first document of each shard.
    private let firstDocuments: [Int]

    /// Opens a directory of shards.
    ///
    /// - Parameter verifying: Whether to compare every byte with the manifest's checksums.
    /// - Throws: ``MoruError/Code/shardsMalformed`` or what the file system throws.
    public init(_ path: String, verifying: Bool = true) throws(MoruError) {
        let file = path + "/manifest.json"
        guard let manifest = ShardManifest(json: try JSON.parse(file: file)) else {
            throw MoruError(
                .shardsMalformed, "\(file) is not a manifest of token shards that this version can read",
                remedy: "tokenise the data again")
        }
        self.path = path
        self.manifest = manifest
        var shards: [MappedShard] = []
        for number in manifest.shards.indices {
            shards.append(try MappedShard(path, number, manifest, verifying: verifying))
        }
        self.shards = shards
        firstDocuments = shards.map(\.documentCount).reduce(into: [0]) { $0.append($0[$0.count - 1] + $1) }.dropLast()
    }

    /// Refuses the tokens of another tokenizer.
    ///
    /// - Throws: ``MoruError/Code/shardsMalformed``.
    public func require(_ tokenizer: Tokenizer) throws(MoruError) {
        guard manifest.tokenizer == tokenizer.dataFingerprint else {
            throw MoruError(
                .shardsMalformed, "\(path) was tokenised with another tokenizer",
                remedy: "tokenise the data again with this model's tokenizer")
        }
    }

    /// A document, counted through all shards.
    public func document(_ index: Int) -> TokenizedExample {
        let (shard, document) = place(of: index)
        return shards[shard].example(shards[shard].tokens(ofDocument: document))
    }

    /// The tokens of the longest document.
    public var longestDocument: Int { shards.map(\.longestDocument).max() ?? 0 }

    /// The documents packed into rows; see ``PackedRows``.
    ///
    /// - Parameter length: The tokens that a row reads, at least 2.
    /// - Throws: ``MoruError/Code/shardsMalformed`` when not every token is learnt: a row might then teach nothing.
    public func packed(length: Int) throws(MoruError) -> PackedRows {
        guard !manifest.isMasked else {
            throw MoruError(
                .shardsMalformed, "\(path) holds examples that are only partly trained on, so they cannot be packed",
                remedy: "use them one by one, or tokenise plain texts")
        }
        return PackedRows(path, shards, length: length)
    }

    private func place(of index: Int) -> (shard: Int, document: Int) {
        let shard = firstDocuments.lastPlace(notAbove: index)
        return (shard, index - firstDocuments[shard])
    }
}

extension TokenShards: ExampleSet {
    /// Where the shards lie.
    public var source: String { path }
    /// The number of documents.
    public var count: Int { manifest.documents }
    /// The tokens of a document.
    public func size(of index: Int) -> ExampleSize {
        let (shard, document) = place(of: index)
        let range = shards[shard].tokens(ofDocument: document)
        guard manifest.isMasked else { return ExampleSize(inputs: range.count - 1, targets: range.count - 1) }
        let example = shards[shard].example(range)
        return ExampleSize(inputs: example.inputs.count, targets: example.targetCount)
    }
    /// A document, a sequence of its own.
    public func sequences(of index: Int) -> [TokenizedExample] { [document(index)] }
    /// A hash of the manifest's checksums.
    public var fingerprintText: String {
        var fingerprint = Fingerprint()
        for shard in manifest.shards { fingerprint.add(shard.checksum) }
        return fingerprint.description
    }
}
