import Foundation
import MoruBase

/// Tokenises sources once, on all threads, into a directory of shards.
///
/// Memory is bounded by a shard and the longest document, whatever the size of the data. The directory appears whole or
/// not at all: it is built beside its place, in `PATH.building`, and a build that was killed goes on there after its last
/// whole shard.
public struct TokenShardBuilder {
    /// What is tokenised.
    public let sources: [DataSource]
    /// Makes tokens of examples; of a text everything is learnt.
    public let encoder: ExampleEncoder
    /// The most tokens of a shard. A longer document is cut into several.
    public var shardTokens = 1 << 23

    /// How far a build is.
    public struct Progress: Sendable, Hashable {
        /// Documents done.
        public var documents: Int
        /// Their tokens.
        public var tokens: Int
        /// The bytes of their text.
        public var bytes: Int
    }

    /// Makes a builder.
    public init(_ sources: [DataSource], encoder: ExampleEncoder) {
        self.sources = sources
        self.encoder = encoder
    }

    /// Builds the directory, or opens it where it holds these very tokens already.
    ///
    /// - Parameters:
    ///   - path: The directory.
    ///   - overwriting: Whether to replace other shards there.
    ///   - progress: Told now and then how far it is.
    ///   - isCancelled: Asked often; once true, the build stops and can be gone on with.
    /// - Throws: ``MoruError/Code/shardsExist``, ``MoruError/Code/runInUse``, ``MoruError/Code/dataEmpty``,
    ///   ``MoruError/Code/cancelled``, or what reading the sources and writing the shards throw.
    public func build(
        to path: String, overwriting: Bool = false, progress: (Progress) -> Void = { _ in },
        isCancelled: () -> Bool = { false }
    ) throws -> TokenShards {
        let path = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
        let plan = try makePlan()
        if FileSystem.exists(path) {
            let present = try? TokenShards(path)
            if let present, present.manifest.hasSamePlan(as: plan) { return present }
            guard Self.holdsShards(path) else {
                throw MoruError(
                    .shardsExist, "\(path) is there and holds no token shards", remedy: "choose another directory")
            }
            guard overwriting else {
                throw MoruError(
                    .shardsExist,
                    present == nil ? "\(path) holds damaged token shards" : "\(path) holds the tokens of other data",
                    remedy: "choose another directory, or overwrite it")
            }
        }
        let building = path + ".building"
        try FileSystem.createDirectory(building)
        let lock = try FileLock.forRun(in: building)
        defer { withExtendedLifetime(lock) {} }
        var writer = try ShardWriter(resuming: building, plan: plan)
        try write(&writer, progress, isCancelled)
        try writer.finish()
        // The lock moves along, so that nobody takes the place in between
        let previous = path + ".previous"
        if Self.holdsShards(previous) { FileSystem.remove(previous) }
        if FileSystem.exists(path), rename(path, previous) != 0 { throw FileSystem.error(writing: path, errno: errno) }
        guard rename(building, path) == 0 else { throw FileSystem.error(writing: path, errno: errno) }
        FileSystem.remove(previous)
        return try TokenShards(path, verifying: false)
    }

    /// Whether a directory is one of shards, whole or not: nothing else is ever replaced.
    private static func holdsShards(_ path: String) -> Bool { FileSystem.exists(path + "/manifest.json") }

    /// What will be built: the tokenizer, and what the sources hold.
    private func makePlan() throws(MoruError) -> ShardManifest {
        var entries: [ShardManifest.Source] = []
        var isMasked = false
        for source in sources {
            var reader = try ExampleReader(source, learned: encoder.learned)
            var fingerprint = Fingerprint()
            for file in reader.files.files {
                fingerprint.add(file.path)
                fingerprint.add(file.format.rawValue)
                let content = try MappedFile(path: file.path)
                withExtendedLifetime(content) { fingerprint.add(bytes: content.bytes) }
            }
            guard let first = try reader.next() else {
                throw MoruError(.dataEmpty, "\(source.path) holds no examples", remedy: "add some, or leave it out")
            }
            isMasked = isMasked || first.shape != .text
            // How examples are read decides their tokens as much as what is in the files
            fingerprint.add("\(source.fields.sorted { $0.key < $1.key }) \(source.classification) \(first.shape)")
            fingerprint.add("\(source.delimiter.map(String.init) ?? "") \(encoder.learned.roles?.sorted() ?? ["*"])")
            // A template shows in what it makes of an example
            if case .single(let example) = first.example, first.shape != .text {
                fingerprint.add(try encoder.encode(example, at: first.place))
            }
            entries.append(ShardManifest.Source(path: source.path, fingerprint: fingerprint.description))
        }
        return ShardManifest(
            tokenizer: encoder.tokenizer.dataFingerprint, vocabularySize: encoder.tokenizer.vocabularySize,
            isMasked: isMasked, shardTokens: shardTokens, sources: entries)
    }

    private func write(
        _ writer: inout ShardWriter, _ progress: (Progress) -> Void, _ isCancelled: () -> Bool
    ) throws(MoruError) {
        let documents = DocumentEncoder(encoder)
        for (number, source) in sources.enumerated() where number >= writer.position.source {
            var reader = try ExampleReader(source, learned: encoder.learned)
            if number == writer.position.source {
                for _ in 0..<writer.position.documents { _ = try reader.next() }
            }
            var isStopped = false
            try reader.forEach { (entry) throws(MoruError) in
                switch entry.example {
                case .single(.text(let text)): return documents.encode(text)
                case .single(let example): return try encoder.encode(example, at: entry.place)
                case .pair:
                    throw MoruError(
                        .dataMalformed, "\(entry.place): a pair of answers to choose between",
                        remedy: "pairs are for preference tuning, not for token shards")
                }
            } _: { (entry, example) throws(MoruError) in
                try writer.append(example, bytes: entry.record.textSize, place: entry.place)
                progress(writer.progress)
                isStopped = isCancelled()
                return !isStopped
            }
            if isStopped {
                throw MoruError(
                    .cancelled, "stopped after \(writer.progress.documents) documents",
                    remedy: "run the same again to go on after the last whole shard")
            }
            writer.finishSource()
        }
    }
}
