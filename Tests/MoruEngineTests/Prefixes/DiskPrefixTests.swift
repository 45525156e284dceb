import Dispatch
import Foundation
import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import Synchronization
import Testing

@testable import MoruEngine

@Suite("Pages kept on disk change no answer")
struct DiskPrefixTests {
    private static func adapters(_ model: any LanguageModel) throws -> [any Adapter] {
        let facts = model.facts
        let lora = try (0..<2).map { index in
            let lora = try LoRAAdapter(
                LoRAConfiguration(rank: 4, targets: ["q_proj", "v_proj"]), adapting: model.linears, seed: 1)
            for pair in lora.pairs.values {
                pair.b.value = Deterministic.tensor("\(pair.b.path) \(index)", pair.b.value.shape, scale: 3)
            }
            return lora
        }
        let keysAndValues = [70, facts.layerCount * 2 * facts.kvHeads * facts.headDim]
        return lora + [
            PrefixTuningAdapter(
                Deterministic.tensor("prefix", keysAndValues, scale: 2), layerCount: facts.layerCount,
                kvHeads: facts.kvHeads)
        ]
    }

    private func requests(_ count: Int, _ adapters: [any Adapter], seed: UInt64) -> [GenerationRequest] {
        var random = RandomGenerator(seed: seed)
        let beginning = (0..<250).map { _ in Int32.random(in: 0..<64, using: &random) }
        return (0..<count).map { index in
            let shared = beginning.prefix([0, 64, 100, 130, 192, 250].randomElement(using: &random) ?? 0)
            let own = (0..<Int.random(in: 1...90, using: &random)).map { _ in Int32.random(in: 0..<64, using: &random) }
            return GenerationRequest(
                prompt: shared + own,
                sampling: SamplingParameters(temperature: index % 2 == 0 ? 0 : 0.9, seed: UInt64(index)),
                maximumTokens: Int.random(in: 1...20, using: &random), endIDs: [0], logProbabilities: 2,
                promptLogProbabilities: index % 5 == 4 ? 1 : nil,
                adapter: index % 3 == 0 ? nil : adapters.randomElement(using: &random), client: "\(index % 3)")
        }
    }

    @Test("any mix equals alone, bit for bit, with little memory and after restarts", arguments: [1, 2] as [UInt64])
    func anyMix(seed: UInt64) async throws {
        let model = try TestModels.tinyLlama(seed: 5, contextLength: 512)
        let requests = requests(12, try Self.adapters(model), seed: seed)
        let wanted = try await Answer.alone(to: requests, model)
        let folder = TestNeeds.temporaryPath("prefixes")
        defer { FileSystem.remove(folder) }
        let pageBytes = model.cacheLayout(.bf16).pageBytes
        var fromDisk = 0
        // Pages for little more than one sequence, and for all; each time as after a restart
        for (round, pages) in [9, 9, 400].enumerated() {
            let directory = try PrefixDirectory(path: folder, maximumBytes: 1 << 30)
            let engine = try Engine(
                model: model,
                configuration: EngineConfiguration(
                    maximumSequences: 4, tokenBudget: 60, cacheBytes: pages * pageBytes, prefixDirectory: directory))
            try await engine.expectAnswers(wanted, to: requests) { index in
                guard index % 4 == 1 else { return }
                // Somebody who goes away at once, and somebody who reads a little
                for try await _ in engine.generate(requests[index]) { break }
                _ = engine.generate(requests[index])
            }
            // And once more, one by one
            for index in [1, 6] {
                let again = try await engine.answer(requests[index]).withoutUsage
                #expect(again == wanted[index], "request \(index) again")
            }
            #expect(await eventually { await engine.statistics.cacheBytes == 0 })
            await engine.shutdown()
            await directory.flush()
            let statistics = await engine.statistics
            fromDisk += statistics.diskTokens
            #expect(statistics.diskTokens <= statistics.cachedTokens)
            if round > 0 { #expect(statistics.diskTokens > 0, "round \(round)") }
            #expect(directory.statistics.damaged == 0 && directory.statistics.pages > 0)
            await directory.close()
        }
        #expect(fromDisk > 0)
    }

    /// The tokens that a prompt got from the disk in a new engine, and its answer.
    private func ask(
        _ folder: String, _ model: any LanguageModel, _ request: GenerationRequest, format: CacheFormat = .bf16,
        maximumBytes: Int = 1 << 30, warnings: Warnings? = nil
    ) async throws -> (tokens: [TokenScore], fromDisk: Int, directory: PrefixDirectory.Statistics) {
        let directory = try PrefixDirectory(path: folder, maximumBytes: maximumBytes) { warning in
            warnings?.texts.withLock { $0.append(warning) }
        }
        let engine = try Engine(
            model: model, configuration: EngineConfiguration(cacheFormat: format, prefixDirectory: directory))
        let answer = try await engine.answer(request)
        await engine.shutdown()
        await directory.close()
        return (answer.tokens, await engine.statistics.diskTokens, directory.statistics)
    }

    private final class Warnings: Sendable {
        let texts = Mutex<[String]>([])
    }

    private static let request = GenerationRequest(
        prompt: (0..<300).map { Int32($0 * 7 % 60) }, maximumTokens: 5, logProbabilities: 1)

    @Test("only what the same model, adapter and format computed is taken")
    func foreign() async throws {
        let folder = TestNeeds.temporaryPath("prefixes")
        defer { FileSystem.remove(folder) }
        let model = try TestModels.tinyLlama(seed: 5, contextLength: 512)
        let first = try await ask(folder, model, Self.request)
        #expect(first.fromDisk == 0 && first.directory.written == 4)
        let again = try await ask(folder, model, Self.request)
        #expect(again.fromDisk == 256 && again.tokens == first.tokens && again.directory.written == 0)
        #expect(try await ask(folder, TestModels.tinyLlama(seed: 6, contextLength: 512), Self.request).fromDisk == 0)
        #expect(try await ask(folder, model, Self.request, format: .f32).fromDisk == 0)
        let adapters = try Self.adapters(model)
        for adapter in adapters {
            var adapted = Self.request
            adapted.adapter = adapter
            let its = try await ask(folder, model, adapted)
            #expect(its.fromDisk == 0 && its.tokens != first.tokens)
            // The same adapter, loaded again
            let copies = try Self.adapters(model)
            adapted.adapter = copies[try #require(adapters.firstIndex { $0 === adapter })]
            let known = try await ask(folder, model, adapted)
            #expect(known.fromDisk >= 192 && known.tokens == its.tokens)
        }
        // The model changes while it serves
        let directory = try PrefixDirectory(path: folder, maximumBytes: 1 << 30)
        let engine = try Engine(model: model, configuration: EngineConfiguration(prefixDirectory: directory))
        _ = try await engine.answer(Self.request)
        model.linears[0].weight.value = model.linears[0].weight.value * 3
        await engine.forgetPrefixes()
        let changed = try await engine.answer(Self.request)
        #expect(await engine.statistics.diskTokens == 256)
        #expect(try await Engine(model: model).answer(Self.request).tokens == changed.tokens)
    }

    @Test("a damaged or foreign file is not trusted, but computed again, with a warning")
    func damaged() async throws {
        let folder = TestNeeds.temporaryPath("prefixes")
        defer { FileSystem.remove(folder) }
        let model = try TestModels.tinyLlama(seed: 5, contextLength: 512)
        let first = try await ask(folder, model, Self.request)
        let names = try FileSystem.list(folder).filter { $0.hasSuffix(".page") }
        #expect(names.count == 4)
        let whole = try names.map { try FileSystem.read("\(folder)/\($0)") }
        var random = RandomGenerator(seed: 1)
        let flaws: [([UInt8]) -> [UInt8]] = [
            { bytes in
                var bytes = bytes
                bytes[Int.random(in: bytes.indices, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
                return bytes
            },
            { Array($0.dropLast()) }, { $0 + [0] }, { _ in [] }, { _ in Array("something else".utf8) },
            { Array($0.prefix(70)) },
        ]
        for flaw in flaws {
            for (name, bytes) in zip(names, whole) { try FileSystem.write(flaw(bytes), to: "\(folder)/\(name)") }
            let warnings = Warnings()
            let its = try await ask(folder, model, Self.request, warnings: warnings)
            #expect(its.fromDisk == 0 && its.tokens == first.tokens && its.directory.damaged == 1)
            #expect(warnings.texts.withLock { $0.count == 1 && $0[0].contains(folder) })
            // What was damaged is written again
            for (name, bytes) in zip(names, whole) { try FileSystem.write(bytes, to: "\(folder)/\(name)") }
        }
        // One file under the name of another
        for (name, bytes) in zip(names, whole.dropFirst() + whole.prefix(1)) {
            try FileSystem.write(bytes, to: "\(folder)/\(name)")
        }
        let swapped = try await ask(folder, model, Self.request)
        #expect(swapped.fromDisk == 0 && swapped.tokens == first.tokens)
    }

    @Test("there are never more bytes than permitted, and what was used last stays")
    func bounded() async throws {
        let folder = TestNeeds.temporaryPath("prefixes")
        defer { FileSystem.remove(folder) }
        let model = try TestModels.tinyLlama(seed: 5, contextLength: 512)
        let room = 6 * (model.cacheLayout(.bf16).pageBytes + 2000)
        func request(_ start: Int) -> GenerationRequest {
            var request = Self.request
            request.prompt[0] = Int32(start)
            return request
        }
        for start in [1, 2, 3, 3] {
            let its = try await ask(folder, model, request(start), maximumBytes: room)
            let bytes = try FileSystem.list(folder).filter { $0 != "lock" }.reduce(0) {
                $0 + (try FileSystem.read("\(folder)/\($1)")).count
            }
            #expect(bytes <= room && bytes == its.directory.bytes && its.directory.pages >= 4)
        }
        #expect(try await ask(folder, model, request(3), maximumBytes: room).fromDisk == 256)
        #expect(try await ask(folder, model, request(1), maximumBytes: room).fromDisk == 0)
    }

    @Test("a page that several engines write at once is counted once")
    func oncePerPage() throws {
        let folder = TestNeeds.temporaryPath("prefixes")
        defer { FileSystem.remove(folder) }
        let directory = try PrefixDirectory(path: folder, maximumBytes: 1 << 20)
        let page = [UInt8](repeating: 7, count: 4096)
        for round in 1...20 {
            let identity = PrefixIdentity(computation: ContentHash().digest, tokens: [Int32(round)], longCount: 0)
            let arrived = Atomic(0)
            DispatchQueue.concurrentPerform(iterations: 2) { _ in
                // Both ask before either has written, as far as the threads come in time
                arrived.add(1, ordering: .relaxed)
                for _ in 0..<100_000 where arrived.load(ordering: .relaxed) < 2 {}
                page.withUnsafeBytes { directory.writeNow(identity, $0) }
            }
            #expect(directory.statistics.pages == round && directory.statistics.written == round)
            #expect(directory.statistics.bytes == round * PrefixFile.byteCount(identity, pageBytes: page.count))
        }
    }

    @Test("a folder is for one process, and half-written files go")
    func opening() async throws {
        let folder = TestNeeds.temporaryPath("prefixes")
        defer { FileSystem.remove(folder) }
        try FileSystem.createDirectory(folder)
        let half = "\(folder)/\(ContentHash().digest.text).page.17.42.partial"
        try FileSystem.write([1, 2, 3], to: half)
        try FileSystem.write([1, 2, 3], to: folder + "/notes.txt")
        var first: PrefixDirectory? = try PrefixDirectory(path: folder, maximumBytes: 100)
        #expect(!FileSystem.exists(half) && FileSystem.exists(folder + "/notes.txt") && first?.statistics.pages == 0)
        let error = #expect(throws: MoruError.self) { try PrefixDirectory(path: folder, maximumBytes: 100) }
        #expect(error?.code == .prefixDirectoryBusy && error?.message.contains("process \(getpid())") == true)
        first = nil
        let second = try PrefixDirectory(path: folder, maximumBytes: 100)
        await second.close()
        #expect(throws: Never.self) { try PrefixDirectory(path: folder, maximumBytes: 100) }
        #expect(throws: MoruError.self) { try PrefixDirectory(path: folder, maximumBytes: 0) }
    }
}
