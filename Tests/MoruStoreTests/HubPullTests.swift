import Foundation
import MoruBase
import MoruTestKit
import Testing

@testable import MoruStore

/// Pulls from a hub on loopback that behaves, and from one that does not.
@Suite("Pulling from the hub")
struct HubPullTests {
    let bench: Workbench
    let name = "acme/tiny"
    let reference = ModelReference(.hub(repository: "acme/tiny", revision: "main", file: nil))
    let weights = noise(300_000, seed: 1)

    init() throws { bench = try Workbench() }

    func hub() async throws -> LoopbackHub {
        let hub = try await LoopbackHub.start()
        hub.mischief.partials = "\(bench.folder)/\(modelFolder).partial"
        hub[name] = LoopbackHub.Repository(files: [
            "config.json": .init(content: Array(#"{"model_type": "llama"}"#.utf8)),
            "tokenizer.json": .init(content: noise(5000, seed: 2)),
            "model.safetensors": .init(content: weights, large: true),
            "pytorch_model.bin": .init(content: noise(100, seed: 3), large: true),
            "README.md": .init(content: Array("# Tiny".utf8)),
        ])
        return hub
    }

    func store(_ hub: LoopbackHub, _ further: [String: String] = [:]) -> ModelStore {
        var store = ModelStore(
            root: "\(bench.folder)/home",
            environment: bench.environment(["HF_ENDPOINT": hub.endpoint].merging(further) { $1 }))
        store.patience = HubPatience(
            connectTimeout: .seconds(5), idleTimeout: .seconds(5), connectAttempts: 2, attempts: 3,
            firstPause: .milliseconds(10), longestPause: .seconds(3))
        return store
    }

    var modelFolder: String { "home/models/acme--tiny" }

    func stored(_ file: String) throws -> [UInt8] {
        try FileSystem.read("\(bench.folder)/\(modelFolder)/\(file)")
    }

    // MARK: - As it should be

    @Test func fetchesWhatAModelNeedsAndNothingElse() async throws {
        let hub = try await hub()
        defer { Task { await hub.stop() } }
        let store = store(hub)
        #expect(try store.locate(reference) == nil)
        let diary = Diary()
        let model = try await store.pull(reference, progress: diary.write)
        #expect(
            bench.tree("home/models") == [
                "acme--tiny", "acme--tiny/config.json", "acme--tiny/model.safetensors", "acme--tiny/moru.json",
                "acme--tiny/tokenizer.json",
            ])
        try expectEqual(stored("model.safetensors"), weights)
        #expect(model.license == "apache-2.0")
        #expect(model.architecture == "llama")
        #expect(model.commit == String(repeating: "a", count: 40))
        #expect(try store.locate(reference) == "\(bench.folder)/\(modelFolder)")
        #expect(diary.steps.last?.phase == .done)
        let received = diary.steps.filter { $0.phase == .downloading && $0.file == "model.safetensors" }
        #expect(received.last?.receivedBytes == weights.count)
        #expect(received.last?.totalBytes == weights.count)
        let listed = try store.models()
        #expect(listed.map(\.name) == ["acme--tiny"])
        #expect(listed.first?.size == model.size)
        #expect(listed.first?.problem == nil)
        #expect(listed.first?.reference == "hf:acme/tiny")
        #expect(listed.first?.files.first { $0.name == "model.safetensors" }?.sha256 == LoopbackHub.sha256(weights))
        let pulledAt = try #require(listed.first?.pulledAt)
        #expect(abs(pulledAt.timeIntervalSinceNow) < 60)
        // All files come from the commit that the listing named, though the branch was asked for.
        #expect(hub.requests(containing: "/resolve/").allSatisfy { $0.uri.contains("/resolve/\(model.commit ?? "")/") })

        hub.forgetRequests()
        _ = try await store.pull(reference)
        #expect(hub.requests.isEmpty)
        _ = try await store.pull(reference, force: true)
        #expect(!hub.requests.isEmpty)
        try expectEqual(stored("model.safetensors"), weights)
    }

    @Test func fetchesOneGGUFFile() async throws {
        let hub = try await hub()
        defer { Task { await hub.stop() } }
        hub[name].files["q/tiny q4.gguf"] = .init(content: noise(9000, seed: 4), large: true)
        let store = store(hub)
        let reference = try ModelReference(parsing: "hf:acme/tiny@refs/pr/1:q/tiny q4.gguf")
        let model = try await store.pull(reference)
        #expect(model.files.map(\.name) == ["q/tiny q4.gguf"])
        #expect(
            try store.locate(reference)?.hasSuffix("acme--tiny@refs%2Fpr%2F1,q%2Ftiny q4.gguf/q/tiny q4.gguf") == true)
        #expect(try FileSystem.read(model.path) == noise(9000, seed: 4))
        let error = await expectError(.hubNotFound) {
            _ = try await store.pull(try ModelReference(parsing: "hf:acme/tiny:model.safetensor"))
        }
        #expect(error.remedy == "did you mean 'model.safetensors'?")
    }

    @Test func theTokenStaysWithTheHub() async throws {
        let hub = try await hub()
        defer { Task { await hub.stop() } }
        hub.mischief.token = "hf_secret"
        _ = try await store(hub, ["HF_TOKEN": "hf_secret"]).pull(reference)
        let elsewhere = hub.requests.filter { $0.port == hub.storePort }
        #expect(!elsewhere.isEmpty)
        #expect(elsewhere.allSatisfy { $0.headers["Authorization"].isEmpty })
        let atHub = hub.requests.filter { $0.port == hub.hubPort }
        #expect(atHub.allSatisfy { $0.headers["Authorization"] == ["Bearer hf_secret"] })
    }

    @Test func theHuggingFaceCacheSavesADownload() async throws {
        let hub = try await hub()
        defer { Task { await hub.stop() } }
        let cache = ".cache/huggingface/hub/models--acme--tiny"
        try bench.write(weights, to: "\(cache)/blobs/\(LoopbackHub.sha256(weights))")
        // A file of the right name and size with another content is passed over, and said so.
        try bench.write(noise(5000, seed: 99), to: "\(cache)/snapshots/x/tokenizer.json")
        let diary = Diary()
        _ = try await store(hub).pull(reference, progress: diary.write)
        #expect(hub.requests(containing: "model.safetensors").isEmpty)
        #expect(!hub.requests(containing: "tokenizer.json").isEmpty)
        try expectEqual(stored("tokenizer.json"), noise(5000, seed: 2))
        #expect(diary.notes.contains { $0.contains("passed over") && $0.contains("snapshots/x/tokenizer.json") })
    }

    // MARK: - Broken connections

    @Test func goesOnWhereTheConnectionBroke() async throws {
        let hub = try await hub()
        defer { Task { await hub.stop() } }
        hub.mischief.cuts = ["model.safetensors": [100_000, 70_000], "tokenizer.json": [1]]
        let diary = Diary()
        _ = try await store(hub).pull(reference, progress: diary.write)
        try expectEqual(stored("model.safetensors"), weights)
        try expectEqual(stored("tokenizer.json"), noise(5000, seed: 2))
        let ranges = hub.requests(containing: "model.safetensors", port: hub.storePort).map {
            $0.headers.first(name: "Range") ?? "all"
        }
        #expect(ranges == ["all", "bytes=100000-", "bytes=170000-"])
        #expect(diary.notes.contains { $0.contains("broke") && $0.contains("trying again") })
    }

    @Test func anInterruptedPullIsResumedLaterAndLeavesTheOldModel() async throws {
        let hub = try await hub()
        defer { Task { await hub.stop() } }
        let store = store(hub)
        _ = try await store.pull(reference)
        let newer = noise(250_000, seed: 7)
        hub[name].files["model.safetensors"]?.content = newer
        hub[name].commit = String(repeating: "b", count: 40)
        // Cuts that bring no bytes use up the attempts.
        hub.mischief.cuts["model.safetensors"] = [90_000, 0, 0, 0, 0]
        let error = await expectError(.hubUnreachable) { _ = try await store.pull(reference, force: true) }
        #expect(error.message.contains("model.safetensors"))
        #expect(error.remedy?.contains("resumes") == true)
        try expectEqual(stored("model.safetensors"), weights)
        #expect(try store.models().map(\.name) == ["acme--tiny"])
        #expect(FileSize.of("\(bench.folder)/\(modelFolder).partial/model.safetensors") == 90_000)

        hub.mischief.cuts = [:]
        hub.forgetRequests()
        let model = try await store.pull(reference, force: true)
        #expect(model.commit == String(repeating: "b", count: 40))
        try expectEqual(stored("model.safetensors"), newer)
        let ranges = hub.requests(containing: "model.safetensors", port: hub.storePort).map {
            $0.headers.first(name: "Range") ?? "all"
        }
        #expect(ranges == ["bytes=90000-"])
        #expect(!FileSystem.exists("\(bench.folder)/\(modelFolder).partial"))
    }

    @Test func startsOverWhenTheServersFileChanged() async throws {
        let hub = try await hub()
        defer { Task { await hub.stop() } }
        hub.mischief.cuts["model.safetensors"] = [90_000, 0, 0, 0]
        let store = store(hub)
        _ = await expectError(.hubUnreachable) { _ = try await store.pull(reference) }
        #expect(try store.models().isEmpty)
        hub.mischief.cuts = [:]
        hub.forgetRequests()
        hub[name].files["model.safetensors"]?.content = noise(300_000, seed: 8)
        let diary = Diary()
        _ = try await store.pull(reference, progress: diary.write)
        try expectEqual(stored("model.safetensors"), noise(300_000, seed: 8))
        #expect(diary.notes.contains { $0.contains("has changed") })
    }

    @Test func startsOverWhenTheServerIgnoresRanges() async throws {
        let hub = try await hub()
        defer { Task { await hub.stop() } }
        hub.mischief.cuts["model.safetensors"] = [90_000]
        hub.mischief.ignoresRanges = true
        let diary = Diary()
        _ = try await store(hub).pull(reference, progress: diary.write)
        try expectEqual(stored("model.safetensors"), weights)
        #expect(diary.notes.contains { $0.contains("from its start") })
    }

    @Test func aSpoiltBeginningIsFetchedOnceMore() async throws {
        let hub = try await hub()
        defer { Task { await hub.stop() } }
        hub.mischief.cuts["model.safetensors"] = [90_000, 0, 0, 0]
        let store = store(hub)
        _ = await expectError(.hubUnreachable) { _ = try await store.pull(reference) }
        let partial = "\(bench.folder)/\(modelFolder).partial/model.safetensors"
        var bytes = try FileSystem.read(partial)
        bytes[5] ^= 0xFF
        try FileSystem.write(bytes, to: partial)
        hub.mischief.cuts = [:]
        let diary = Diary()
        _ = try await store.pull(reference, progress: diary.write)
        try expectEqual(stored("model.safetensors"), weights)
        #expect(diary.notes.contains { $0.contains("begun by an earlier pull") })
    }

    @Test func stoppingKeepsWhatCame() async throws {
        let hub = try await hub()
        defer { Task { await hub.stop() } }
        hub.mischief.cuts["model.safetensors"] = [90_000]
        hub.mischief.delayOfRanges = .seconds(20)
        let store = store(hub)
        let diary = Diary()
        let task = Task { try await store.pull(reference, progress: diary.write) }
        while !diary.notes.contains(where: { $0.contains("broke") }) { try await Task.sleep(for: .milliseconds(1)) }
        task.cancel()
        _ = await expectError(.cancelled) { _ = try await task.value }
        #expect(try store.models().isEmpty)
        #expect(FileSize.of("\(bench.folder)/\(modelFolder).partial/model.safetensors") == 90_000)
        hub.mischief.delayOfRanges = .zero
        _ = try await store.pull(reference)
        try expectEqual(stored("model.safetensors"), weights)
    }

    // MARK: - Busy and absent hubs

    @Test func waitsAsLongAsTheServerAsks() async throws {
        let hub = try await hub()
        defer { Task { await hub.stop() } }
        hub.mischief.refusals = [(429, "1"), (503, nil)]
        let diary = Diary()
        let clock = ContinuousClock()
        let time = try await clock.measure { _ = try await store(hub).pull(reference, progress: diary.write) }
        #expect(time >= .seconds(1))
        #expect(diary.notes.contains { $0.contains("429") && $0.contains("1.0 s") })
        try expectEqual(stored("model.safetensors"), weights)

        hub.mischief.refusals = [(429, "3600")]
        let error = await expectError(.hubRateLimited) { _ = try await store(hub).pull(reference, force: true) }
        #expect(error.message.contains("3600 s"))
        #expect(error.remedy?.contains("HF_TOKEN") == true)
    }

    @Test func givesUpOnAServerInTrouble() async throws {
        let hub = try await hub()
        defer { Task { await hub.stop() } }
        hub.mischief.refusals = Array(repeating: (502, nil), count: 9)
        let error = await expectError(.hubUnreachable) { _ = try await store(hub).pull(reference) }
        #expect(error.message.contains("502"))
        #expect(hub.requests.count == 3)
        #expect(bench.tree("home/models").isEmpty)
    }

    @Test func saysWhatToDoWhenTheNetworkIsDown() async throws {
        let hub = try await hub()
        await hub.stop()
        let error = await expectError(.hubUnreachable) { _ = try await store(hub).pull(reference) }
        #expect(error.message.contains("127.0.0.1"))
        #expect(error.message.contains("acme/tiny"))
        #expect(error.remedy?.contains("HF_ENDPOINT") == true)
        #expect(bench.tree("home/models").isEmpty)
        let offline = await expectError(.hubUnreachable) {
            _ = try await store(hub, ["HF_HUB_OFFLINE": "1"]).pull(reference)
        }
        #expect(offline.remedy == "unset HF_HUB_OFFLINE")
    }

    // MARK: - Beside others

    @Test func twoPullsOfOneModelFetchItOnce() async throws {
        let hub = try await hub()
        defer { Task { await hub.stop() } }
        hub.mischief.delay = .milliseconds(100)
        let store = store(hub)
        let diary = Diary()
        async let first = store.pull(reference, progress: diary.write)
        async let second = store.pull(reference, progress: diary.write)
        let models = try await [first, second]
        #expect(Set(models.map(\.size)).count == 1)
        #expect(hub.requests(containing: "model.safetensors", port: hub.storePort).count == 1)
        #expect(diary.notes.contains { $0.contains("waiting for it") && $0.contains("process \(getpid())") })
        #expect(diary.notes.contains("already here"))
    }

    @Test func aModelCannotBeRemovedWhileItIsPulled() async throws {
        let hub = try await hub()
        defer { Task { await hub.stop() } }
        let store = store(hub)
        _ = try await store.pull(reference)
        hub.mischief.delay = .milliseconds(500)
        let task = Task { try await store.pull(reference, force: true) }
        hub.forgetRequests()
        while hub.requests.isEmpty { try await Task.sleep(for: .milliseconds(1)) }
        _ = await expectError(.modelBusy) { try store.remove("acme--tiny") }
        _ = try await task.value
        try store.remove("hf:acme/tiny")
        #expect(bench.tree("home/models").isEmpty)
        _ = await expectError(.modelUnknown) { try store.remove("acme--tiny") }
    }

    @Test func aFullDiskIsSeenBeforeTheDownload() async throws {
        let hub = try await hub()
        defer { Task { await hub.stop() } }
        var store = store(hub)
        store.availableBytes = { _ in 16_000_000 }
        let error = await expectError(.diskFull) { _ = try await store.pull(reference) }
        #expect(error.message.contains("16.0 MB are free"))
        #expect(error.remedy?.contains("MORU_HOME") == true)
        #expect(hub.requests(containing: "/resolve/").isEmpty)
        #expect(bench.tree("home/models").isEmpty)
    }
}
