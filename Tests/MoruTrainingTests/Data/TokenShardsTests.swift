import Foundation
import MoruBase
import MoruModels
import MoruTensor
import MoruTestKit
import MoruText
import Testing

@testable import MoruTraining

@Suite
struct TokenShardsTests {
    private let folder: TemporaryFolder
    private let encoder: ExampleEncoder

    init() throws {
        folder = try TemporaryFolder()
        encoder = ExampleEncoder(try TestModels.tinyPretrained())
    }

    private func texts(_ count: Int) -> [String] {
        (0..<count).map { number in "Document \(number): " + String(repeating: "x", count: number * 7 % 40) }
    }

    private func source(_ texts: [String], _ name: String = "data.jsonl") throws -> DataSource {
        let lines = texts.map { JSON.object(JSONObject([("text", .string($0))])).text() + "\n" }.joined()
        return DataSource(try folder.write(lines, to: name))
    }

    private func builder(_ sources: [DataSource], shardTokens: Int = 200) -> TokenShardBuilder {
        var builder = TokenShardBuilder(sources, encoder: encoder)
        builder.shardTokens = shardTokens
        return builder
    }

    private func documents(_ shards: TokenShards) -> [TokenizedExample] {
        (0..<shards.count).map { shards.document($0) }
    }

    @Test func shardsHoldEveryDocument() throws {
        let texts = texts(50)
        let sources = [try source(Array(texts[..<20])), try source(Array(texts[20...]), "more.jsonl")]
        let shards = try builder(sources).build(to: folder.path + "/shards/")
        let expected = try texts.map { try encoder.encode(.text($0)) }
        expectEqual(documents(shards), expected)
        #expect(shards.manifest.shards.count > 5 && shards.manifest.shards.allSatisfy { $0.tokens <= 200 })
        #expect(shards.manifest.tokenBytes == 2 && shards.manifest.sources.map(\.documents) == [20, 30])
        #expect(shards.manifest.bytes == texts.reduce(0) { $0 + $1.utf8.count })
        #expect(shards.manifest.tokens == expected.reduce(0) { $0 + $1.tokens.count })
        expectEqual(documents(try TokenShards(folder.path + "/shards")), expected)
        #expect(!FileSystem.exists(folder.path + "/shards.building"))
        try shards.require(encoder.tokenizer)
        var other = encoder.tokenizer
        other.endOfSequence = nil
        expectError(.shardsMalformed, "another tokenizer") { try shards.require(other) }
    }

    @Test func marksSayWhatIsLearnt() throws {
        let path = try folder.write(
            "{\"prompt\": \"1 + 1 =\", \"completion\": \" 2\"}\n{\"prompt\": \"a\", \"completion\": \"b\"}\n",
            to: "p.jsonl")
        let shards = try builder([DataSource(path), source(["text"])]).build(to: folder.path + "/shards")
        let expected: [TrainingExample] = [
            .completion(prompt: "1 + 1 =", completion: " 2"), .completion(prompt: "a", completion: "b"), .text("text"),
        ]
        // the first token of a document is never learnt
        try expectEqual(documents(shards), expected.map { try encoder.encode($0) })
        #expect(
            (0..<3).map { shards.size(of: $0) }
                == (try expected.map {
                    let example = try encoder.encode($0)
                    return ExampleSize(inputs: example.inputs.count, targets: example.targetCount)
                }))
        expectError(.shardsMalformed, "cannot be packed") { _ = try shards.packed(length: 8) }
        expectError(.dataTooLong, "p.jsonl, line 1: the example has 10 tokens, a shard holds 5") {
            _ = try builder([DataSource(path)], shardTokens: 5).build(to: folder.path + "/small")
        }
    }

    @Test func longDocumentsAreCut() throws {
        let texts = ["short", String(repeating: "abcdefg ", count: 100), "end"]
        let shards = try builder([source(texts)], shardTokens: 300).build(to: folder.path + "/shards")
        #expect(shards.manifest.splitDocuments == 1 && shards.manifest.shards.map(\.tokens) == [6, 267, 267, 267, 4])
        let tokens = documents(shards).flatMap(\.tokens)
        try expectEqual(tokens, texts.flatMap { try encoder.encode(.text($0)).tokens })
    }

    @Test func aSecondBuildOpensTheFirst() throws {
        let source = try source(texts(9))
        let path = folder.path + "/shards"
        let first = try builder([source]).build(to: path)
        var steps = 0
        #expect(try builder([source]).build(to: path, progress: { _ in steps += 1 }).manifest == first.manifest)
        #expect(steps == 0)
        let changed = try self.source(texts(10))
        expectError(.shardsExist, "holds the tokens of other data", "overwrite") {
            _ = try builder([changed]).build(to: path)
        }
        #expect(try builder([changed]).build(to: path, overwriting: true).count == 10)
        #expect(try FileSystem.list(folder.path) == ["data.jsonl", "shards"])
        _ = try folder.write("mine", to: "folder/precious.txt")
        // what is not made of shards is never replaced
        expectError(.shardsExist, "holds no token shards") {
            _ = try builder([changed]).build(to: folder.path + "/folder", overwriting: true)
        }
        #expect(try FileSystem.readText(folder.path + "/folder/precious.txt") == "mine")
    }

    /// Shards of chats are made again when the template makes other tokens of them.
    @Test func anotherTemplateMakesOtherShards() throws {
        let chat = #"{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}"#
        let source = DataSource(try folder.write(chat, to: "chat.jsonl"))
        let path = folder.path + "/shards"
        _ = try builder([source]).build(to: path)
        let other = try ChatTemplate(
            "{% for m in messages %}{{ m.role }}: {{ m.content }};{% endfor %}", name: encoder.template.name)
        var changed = TokenShardBuilder(
            [source], encoder: ExampleEncoder(tokenizer: encoder.tokenizer, template: other))
        changed.shardTokens = builder([source]).shardTokens
        expectError(.shardsExist, "the tokens of other data") { _ = try changed.build(to: path) }
        #expect(try builder([source]).build(to: path).count == 1)
    }

    /// A build that is stopped anywhere goes on to the very same files.
    @Test(arguments: [1, 7, 20, 21, 33, 49])
    func aStoppedBuildGoesOn(after stop: Int) throws {
        let texts = texts(50)
        let sources = [try source(Array(texts[..<20])), try source(Array(texts[20...]), "more.jsonl")]
        let whole = try builder(sources).build(to: folder.path + "/whole")
        let path = folder.path + "/shards"
        var done = 0
        expectError(.cancelled, "stopped after \(stop) documents") {
            _ = try builder(sources).build(
                to: path, progress: { done = $0.documents }, isCancelled: { done == stop })
        }
        #expect(!FileSystem.exists(path) && FileSystem.isDirectory(path + ".building"))
        // what a kill left half-written
        try FileSystem.write([1, 2, 3], to: path + ".building/tokens-00099.bin")
        try FileSystem.write([1], to: path + ".building/progress.json.1.partial")
        var first: Int?
        let shards = try builder(sources).build(to: path, progress: { first = first ?? $0.documents })
        #expect(shards.manifest == whole.manifest && documents(shards) == documents(whole))
        if stop > 20 { #expect(first ?? 0 > 1, "the build began anew") }
        #expect(
            try FileSystem.list(path) == FileSystem.list(folder.path + "/whole"), "files are left that do not belong")
    }

    @Test func damageIsNoticed() throws {
        let path = folder.path + "/shards"
        _ = try builder([source(texts(30))]).build(to: path)
        let intact = try FileSystem.read(path + "/tokens-00001.bin")
        var changed = intact
        changed[10] ^= 1
        try FileSystem.write(changed, to: path + "/tokens-00001.bin")
        expectError(.shardsMalformed, "tokens-00001.bin has other content") { _ = try TokenShards(path) }
        try FileSystem.write(intact.dropLast(2), to: path + "/tokens-00001.bin")
        expectError(.shardsMalformed, "tokens-00001.bin has", "tokenise the data again") {
            _ = try TokenShards(path, verifying: false)
        }
        try FileSystem.write(intact, to: path + "/tokens-00001.bin")
        var ends = try FileSystem.read(path + "/ends-00000.bin")
        for value: UInt8 in [0, 0xFF] {
            ends.replaceSubrange(8..<16, with: repeatElement(value, count: 8))
            try FileSystem.write(ends, to: path + "/ends-00000.bin")
            expectError(.shardsMalformed, "ends-00000.bin") { _ = try TokenShards(path, verifying: false) }
        }
        let manifest = try FileSystem.readText(path + "/manifest.json")
        let tokens = "\"tokens\": \(try #require(JSON.parse(manifest, source: "")["shards"]?.array?[0]["tokens"]?.int))"
        for hostile in [
            manifest.replacing("\"shard_tokens\": 200", with: "\"shard_tokens\": \(Int.max)")
                .replacing(tokens, with: "\"tokens\": \(Int.max - 1)"),
            manifest.replacing(tokens, with: "\"tokens\": 1"),
        ] {
            #expect(hostile != manifest)
            try FileSystem.write(hostile.utf8, to: path + "/manifest.json")
            expectError(.shardsMalformed, "manifest.json is not a manifest") { _ = try TokenShards(path) }
        }
        try FileSystem.write("{}".utf8, to: path + "/manifest.json")
        expectError(.shardsMalformed, "manifest.json is not a manifest") { _ = try TokenShards(path) }
    }

    @Test func longTextsAreCutAtLinesWithoutATrace() throws {
        var documents = DocumentEncoder(encoder)
        documents.pieceBytes = 100
        let text = (0..<200).map { "Line \($0) of é text\n" + ($0 % 7 == 0 ? "\n  indented\n" : "") }.joined()
        #expect(documents.encode(text) == (try encoder.encode(.text(text))))
    }
}

@Suite
struct PackingTests {
    private let folder: TemporaryFolder
    private let model: PretrainedModel
    private let encoder: ExampleEncoder

    init() throws {
        folder = try TemporaryFolder()
        model = try TestModels.tinyPretrained()
        encoder = ExampleEncoder(model)
    }

    private func shards(_ texts: [String], shardTokens: Int = 1000) throws -> TokenShards {
        let lines = texts.map { JSON.object(JSONObject([("text", .string($0))])).text() + "\n" }.joined()
        let name = "\(UInt64.random(in: 0 ... .max))"
        var builder = TokenShardBuilder([DataSource(try folder.write(lines, to: name + ".jsonl"))], encoder: encoder)
        builder.shardTokens = shardTokens
        return try builder.build(to: "\(folder.path)/\(name)")
    }

    @Test(arguments: [2, 3, 5, 16, 31, 1000], [40, 1000])
    func everyTokenIsLearntOnce(length: Int, shardTokens: Int) throws {
        let texts = (0..<23).map { String(repeating: "abcdefghij", count: $0 % 4) + "\($0)" }
        let shards = try shards(texts, shardTokens: shardTokens)
        let rows = try shards.packed(length: length)
        var learnt: [Int32] = []
        var lengths: [Int] = []
        for row in 0..<rows.count {
            let sequences = rows.sequences(of: row)
            let inputs = sequences.reduce(0) { $0 + $1.inputs.count }
            #expect(inputs <= length && inputs > 0)
            let targets = sequences.reduce(0) { $0 + $1.targetCount }
            #expect(rows.size(of: row) == ExampleSize(inputs: inputs, targets: targets))
            learnt += sequences.flatMap { zip($0.tokens, $0.isTarget).filter(\.1).map(\.0) }
            lengths.append(inputs)
        }
        expectEqual(learnt, (0..<shards.count).flatMap { shards.document($0).tokens.dropFirst() })
        // In one shard there are as few rows as the tokens need
        let tokens = shards.manifest.tokens
        if shards.manifest.shards.count == 1 { #expect(rows.count == (tokens - 1 + length - 1) / length) }
    }

    /// The loss of packed documents is what each loses alone: document by document bit for bit, their sum but for
    /// rounding.
    @Test func packedDocumentsLoseWhatEachLosesAlone() throws {
        try Runtime.withPrecision(.f32) { try comparePackedWithAlone() }
    }

    private func comparePackedWithAlone() throws {
        let texts = ["The quick brown fox", "jumps", "over the lazy dog, twice", "a", "and sleeps."]
        let sequences = try shards(texts).packed(length: 200).sequences(of: 0)
        #expect(sequences.count == 5)
        let task = LanguageModelTask(
            model: model.model, adapter: nil, training: TokenizedDataset(source: "", examples: []))
        let hidden = model.model.hiddenStates(TokenBatch(sequences.map { Array($0.inputs) }))
        var begin = 0
        var sum = 0.0
        for (sequence, text) in zip(sequences, texts) {
            let rows = hidden.rows(begin..<begin + sequence.inputs.count)
            let targets = Array(sequence.tokens.dropFirst())
            let packed = model.model.crossEntropy(rows, targets).scalar
            let alone = task.summedLoss(of: [try encoder.encode(.text(text))]).scalar
            #expect(packed == alone, "\(text): \(packed - alone)")
            begin += sequence.inputs.count
            sum += Double(alone)
        }
        let together = Double(task.summedLoss(of: sequences).scalar)
        #expect(abs(together - sum) < 3e-6 * sum, "\(together) packed, \(sum) alone")
    }

    /// What one document says changes nothing in the hidden states of another, bit for bit.
    @Test func documentsDoNotSeeEachOther() throws {
        let texts = ["The quick brown fox", "jumps over", "the lazy dog"]
        func states(_ texts: [String]) throws -> [[Float]] {
            var batch = TokenBatch()
            for sequence in try shards(texts).packed(length: 100).sequences(of: 0) { batch.append(sequence.inputs) }
            #expect(batch.segments.allSatisfy { $0.firstPosition == 0 })
            let hidden = model.model.hiddenStates(batch)
            return batch.segments.map { hidden.rows($0.rows).values() }
        }
        let before = try states(texts)
        let after = try states([texts[0], "JUMPS  OFF", texts[2]])
        #expect(before[0] == after[0] && before[2] == after[2])
        #expect(before[1] != after[1])
        #expect(before[2] == (try states([texts[2]]))[0])
    }
}
