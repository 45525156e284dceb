import MoruBase

/// What a directory of token shards says of itself, in `manifest.json`.
public struct ShardManifest: Sendable, Hashable {
    /// A source that was read.
    public struct Source: Sendable, Hashable {
        /// Its path or pattern.
        public var path: String
        /// A hash of the names and contents of its files, and of how they were read.
        public var fingerprint: String
        /// Its documents.
        public var documents = 0
        /// Their tokens.
        public var tokens = 0
        /// The bytes of their text, without what a template adds.
        public var bytes = 0
    }

    /// A file of tokens.
    public struct Shard: Sendable, Hashable {
        /// Its documents.
        public var documents: Int
        /// Its tokens.
        public var tokens: Int
        /// A hash of the files' bytes.
        public var checksum: String
    }

    /// A hash of the tokenizer.
    public var tokenizer: String
    /// Token ids run from 0 to below this.
    public var vocabularySize: Int
    /// Whether each token has a mark that says whether it is learnt; otherwise all are.
    public var isMasked: Bool
    /// The most tokens of a shard.
    public var shardTokens: Int
    /// The sources.
    public var sources: [Source]
    /// The shards.
    public var shards: [Shard] = []
    /// Documents longer than a shard, which were cut into several.
    public var splitDocuments = 0

    /// The number of documents.
    public var documents: Int { shards.reduce(0) { $0 + $1.documents } }
    /// The number of tokens.
    public var tokens: Int { shards.reduce(0) { $0 + $1.tokens } }
    /// The bytes of the text that the tokens stand for.
    public var bytes: Int { sources.reduce(0) { $0 + $1.bytes } }
    /// The bytes of a token: 2 where every id fits.
    public var tokenBytes: Int { vocabularySize <= 1 << 16 ? 2 : 4 }

    private static let (format, version) = ("moru-token-shards", 1)
    /// More than any memory holds, and few enough that sizes in bytes can be counted.
    private static let maximumShardTokens = 1 << 40

    /// The manifest as `manifest.json` holds it.
    var json: JSON {
        [
            "format": .string(Self.format), "version": .int(Self.version), "tokenizer": .string(tokenizer),
            "vocabulary_size": .int(vocabularySize), "dtype": .string(tokenBytes == 2 ? "u16" : "u32"),
            "masked": .bool(isMasked), "shard_tokens": .int(shardTokens), "documents": .int(documents),
            "tokens": .int(tokens), "bytes": .int(bytes), "split_documents": .int(splitDocuments),
            "sources": .array(
                sources.map {
                    [
                        "path": .string($0.path), "fingerprint": .string($0.fingerprint),
                        "documents": .int($0.documents),
                        "tokens": .int($0.tokens), "bytes": .int($0.bytes),
                    ]
                }),
            "shards": .array(
                shards.map {
                    ["documents": .int($0.documents), "tokens": .int($0.tokens), "checksum": .string($0.checksum)]
                }),
        ]
    }

    /// Reads a manifest; nil when it is none of this version.
    init?(json: JSON) {
        func count(_ json: JSON, _ key: String) -> Int? { json[key]?.int.flatMap { $0 >= 0 ? $0 : nil } }
        guard json["format"]?.string == Self.format, json["version"]?.int == Self.version,
            let tokenizer = json["tokenizer"]?.string, let vocabularySize = count(json, "vocabulary_size"),
            let isMasked = json["masked"]?.bool, let shardTokens = count(json, "shard_tokens"),
            2...Self.maximumShardTokens ~= shardTokens,
            let sources = json["sources"]?.array, let shards = json["shards"]?.array,
            let splitDocuments = count(json, "split_documents")
        else { return nil }
        self.init(
            tokenizer: tokenizer, vocabularySize: vocabularySize, isMasked: isMasked, shardTokens: shardTokens,
            sources: [])
        for source in sources {
            guard let path = source["path"]?.string, let fingerprint = source["fingerprint"]?.string,
                let documents = count(source, "documents"), let tokens = count(source, "tokens"),
                let bytes = count(source, "bytes")
            else { return nil }
            self.sources.append(
                Source(path: path, fingerprint: fingerprint, documents: documents, tokens: tokens, bytes: bytes))
        }
        for shard in shards {
            guard let documents = count(shard, "documents"), let tokens = count(shard, "tokens"),
                tokens <= shardTokens, 1...max(1, tokens) ~= documents, let checksum = shard["checksum"]?.string
            else { return nil }
            self.shards.append(Shard(documents: documents, tokens: tokens, checksum: checksum))
        }
        self.splitDocuments = splitDocuments
    }

    init(tokenizer: String, vocabularySize: Int, isMasked: Bool, shardTokens: Int, sources: [Source]) {
        self.tokenizer = tokenizer
        self.vocabularySize = vocabularySize
        self.isMasked = isMasked
        self.shardTokens = shardTokens
        self.sources = sources
    }

    /// Whether another manifest is of the same tokens: the same tokenizer, sources and way of reading them.
    func hasSamePlan(as other: ShardManifest) -> Bool {
        tokenizer == other.tokenizer && isMasked == other.isMasked && shardTokens == other.shardTokens
            && sources.map(\.fingerprint) == other.sources.map(\.fingerprint)
    }

    /// The name of a file of a shard: its tokens, the ends of its documents, or its marks.
    static func fileName(_ kind: String, _ shard: Int) -> String {
        let digits = String(shard)
        return "\(kind)-" + String(repeating: "0", count: max(0, 5 - digits.count)) + digits + ".bin"
    }
}
