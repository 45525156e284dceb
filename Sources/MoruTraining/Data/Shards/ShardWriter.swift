import Foundation
import MoruBase

/// Writes shards one by one into a directory and notes after each where the data goes on, so that a killed build
/// continues there.
struct ShardWriter {
    /// Documents of the sources that are in whole shards or in memory.
    struct Position: Hashable {
        /// The source, counted from 0.
        var source = 0
        /// Its documents done.
        var documents = 0
    }

    private let directory: String
    private var manifest: ShardManifest
    private(set) var position = Position()
    private var tokens: [Int32] = []
    private var marks: [UInt8] = []
    private var ends: [Int] = []

    private var progressFile: String { directory + "/progress.json" }

    /// Begins in a directory, or goes on where a build of the same plan was.
    ///
    /// - Throws: ``MoruError/Code/shardsMalformed`` when the directory holds something else, or what the file system throws.
    init(resuming directory: String, plan: ShardManifest) throws(MoruError) {
        self.directory = directory
        manifest = plan
        if let saved = try? JSON.parse(file: directory + "/progress.json"),
            let manifest = saved["manifest"].flatMap(ShardManifest.init), manifest.hasSamePlan(as: plan),
            let source = saved["source"]?.int, let documents = saved["documents"]?.int, source >= 0, documents >= 0,
            (try? Self.check(directory, manifest)) != nil
        {
            self.manifest = manifest
            position = Position(source: source, documents: documents)
        }
        let kept = Set(self.manifest.shards.indices.flatMap(names) + [".lock", "progress.json"])
        for name in try FileSystem.list(directory) where !kept.contains(name) {
            guard name.hasSuffix(".bin") || name.hasSuffix(".partial") || name == "manifest.json" else {
                throw MoruError(
                    .shardsMalformed, "\(directory) holds \(name), which is not of a build",
                    remedy: "move it away, or choose another directory")
            }
            FileSystem.remove("\(directory)/\(name)")
        }
    }

    private static func check(_ directory: String, _ manifest: ShardManifest) throws {
        for number in manifest.shards.indices {
            let tokens = try MappedFile(path: "\(directory)/\(ShardManifest.fileName("tokens", number))")
            guard tokens.bytes.count == manifest.shards[number].tokens * manifest.tokenBytes else {
                throw MoruError(.shardsMalformed, tokens.path)
            }
        }
    }

    private func names(ofShard number: Int) -> [String] {
        (["tokens", "ends"] + (manifest.isMasked ? ["marks"] : [])).map { ShardManifest.fileName($0, number) }
    }

    /// How far it is.
    var progress: TokenShardBuilder.Progress {
        manifest.sources.reduce(into: TokenShardBuilder.Progress(documents: 0, tokens: 0, bytes: 0)) {
            $0.documents += $1.documents
            $0.tokens += $1.tokens
            $0.bytes += $1.bytes
        }
    }

    /// Appends the next document of the current source.
    ///
    /// - Parameters:
    ///   - bytes: Of its text.
    ///   - place: Where it stands.
    /// - Throws: ``MoruError/Code/dataTooLong`` for an example longer than a shard, ``MoruError/Code/diskFull`` or
    ///   ``MoruError/Code/fileUnwritable``.
    mutating func append(_ document: TokenizedExample, bytes: Int, place: DataPlace) throws(MoruError) {
        // Of a single token nothing is learnt
        let count = document.tokens.count > 1 ? document.tokens.count : 0
        if tokens.count + count > manifest.shardTokens { try closeShard() }
        if count > manifest.shardTokens {
            guard !manifest.isMasked else {
                throw MoruError(
                    .dataTooLong, "\(place): the example has \(count) tokens, a shard holds \(manifest.shardTokens)",
                    remedy: "make the shards larger")
            }
            manifest.splitDocuments += 1
            // Pieces of equal length, so that none is a single token
            let pieces = (count - 1) / manifest.shardTokens + 1
            for piece in 0..<pieces {
                // Where the build is, is noted only after the whole document
                if piece > 0 { try writeShard() }
                take(document, count * piece / pieces..<count * (piece + 1) / pieces)
            }
        } else if count > 0 {
            take(document, 0..<count)
        }
        position.documents += 1
        manifest.sources[position.source].documents += 1
        manifest.sources[position.source].tokens += count
        manifest.sources[position.source].bytes += bytes
        if count > manifest.shardTokens { try closeShard() }
    }

    private mutating func take(_ document: TokenizedExample, _ range: Range<Int>) {
        tokens += document.tokens[range]
        if manifest.isMasked { marks += document.isTarget[range].map { $0 ? 1 : 0 } }
        ends.append(tokens.count)
    }

    /// Goes on to the next source.
    mutating func finishSource() { position = Position(source: position.source + 1) }

    /// Writes what is left, and the manifest.
    ///
    /// - Throws: ``MoruError/Code/dataEmpty``, ``MoruError/Code/diskFull`` or ``MoruError/Code/fileUnwritable``.
    mutating func finish() throws(MoruError) {
        try closeShard()
        guard manifest.tokens > 0 else {
            throw MoruError(.dataEmpty, "the sources have no tokens", remedy: "add some text")
        }
        try write("manifest.json", (manifest.json.text(pretty: true) + "\n").utf8)
    }

    /// Writes the shard that is in memory, and notes where the data goes on.
    private mutating func closeShard() throws(MoruError) {
        try writeShard()
        let progress: JSON = [
            "manifest": manifest.json, "source": .int(position.source), "documents": .int(position.documents),
        ]
        try write("progress.json", progress.text().utf8)
    }

    private mutating func writeShard() throws(MoruError) {
        guard !tokens.isEmpty else { return }
        var contents: [[UInt8]] = []
        if manifest.tokenBytes == 2 {
            contents.append(Self.bytes(tokens.map { UInt16(truncatingIfNeeded: $0).littleEndian }))
        } else {
            contents.append(Self.bytes(tokens.map { UInt32(bitPattern: $0).littleEndian }))
        }
        contents.append(Self.bytes(ends.map { UInt64($0).littleEndian }))
        if manifest.isMasked { contents.append(marks) }
        var checksum = Fingerprint()
        for (name, content) in zip(names(ofShard: manifest.shards.count), contents) {
            content.withUnsafeBytes { checksum.add(bytes: $0) }
            try write(name, content)
        }
        manifest.shards.append(
            ShardManifest.Shard(documents: ends.count, tokens: tokens.count, checksum: checksum.description))
        tokens.removeAll(keepingCapacity: true)
        marks.removeAll(keepingCapacity: true)
        ends.removeAll(keepingCapacity: true)
    }

    private static func bytes(_ words: [some FixedWidthInteger]) -> [UInt8] { words.withUnsafeBytes { Array($0) } }

    private func write(_ name: String, _ content: some Collection<UInt8>) throws(MoruError) {
        do {
            try FileSystem.write(content, to: "\(directory)/\(name)")
        } catch {
            throw error as? MoruError ?? FileSystem.error(writing: "\(directory)/\(name)", errno: EIO)
        }
    }
}
