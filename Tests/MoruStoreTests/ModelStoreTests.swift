import Foundation
import MoruBase
import Testing

@testable import MoruStore

@Suite("The model store")
struct ModelStoreTests {
    let bench: Workbench
    let store: ModelStore

    init() throws {
        bench = try Workbench()
        store = ModelStore(root: bench.folder, environment: bench.environment())
    }

    private func put(_ name: String, files: [String: [UInt8]]) throws {
        var listed: [CatalogFile] = []
        for (file, bytes) in files.sorted(by: { $0.key < $1.key }) {
            try bench.write(bytes, to: "models/\(name)/\(file)")
            listed.append(CatalogFile(name: file, size: bytes.count, sha256: LoopbackHub.sha256(bytes)))
        }
        let model = StoredModel(
            name: name, directory: "\(bench.folder)/models/\(name)", files: listed, size: 0, reference: name,
            source: "a test", pulledAt: Date(timeIntervalSince1970: 1_700_000_000))
        try bench.write(Array(model.manifest.text().utf8), to: "models/\(name)/moru.json")
    }

    @Test func rootComesFromTheEnvironment() {
        #expect(ModelStore.defaultRoot(in: ["MORU_HOME": "/m", "XDG_DATA_HOME": "/d", "HOME": "/h"]) == "/m")
        #expect(ModelStore.defaultRoot(in: ["XDG_DATA_HOME": "/d", "HOME": "/h"]) == "/d/moru")
        #expect(ModelStore.defaultRoot(in: ["XDG_DATA_HOME": "relative", "HOME": "/h"]) == "/h/.local/share/moru")
        #expect(ModelStore.defaultRoot(in: ["MORU_HOME": "", "HOME": "/h"]) == "/h/.local/share/moru")
    }

    @Test func listsWhatIsThere() throws {
        #expect(try store.models().isEmpty)
        try put("one", files: ["m.gguf": noise(10, seed: 1)])
        try put("two", files: ["config.json": [1], "model.safetensors": noise(20, seed: 2)])
        try bench.write([1, 2, 3], to: "models/by-hand/config.json")
        try bench.write([1], to: "models/half.partial/config.json")
        try bench.write(Array("{".utf8), to: "models/broken/moru.json")
        let models = try store.models()
        #expect(models.map(\.name) == ["broken", "by-hand", "one", "two"])
        #expect(models[0].problem?.contains("the manifest cannot be read") == true)
        #expect(models[1].size == 3 && models[1].pulledAt == nil && models[1].problem == nil)
        #expect(models[2].size == 10 && models[2].source == "a test")
        #expect(models[2].pulledAt == Date(timeIntervalSince1970: 1_700_000_000))
        #expect(models[2].path == "\(bench.folder)/models/one/m.gguf")
        #expect(models[3].path == "\(bench.folder)/models/two")
    }

    @Test func locatesModels() async throws {
        try put("one", files: ["m.gguf": noise(10, seed: 1)])
        try put("smollm2-135m-instruct", files: ["m.gguf": noise(10, seed: 1)])
        #expect(try store.locate(ModelReference(.name("one"))) == "\(bench.folder)/models/one/m.gguf")
        #expect(try store.locate(ModelReference(.name("SmolLM2")))?.contains("/smollm2-135m-instruct/") == true)
        #expect(try store.locate(ModelReference(.name("minilm"))) == nil)
        #expect(try store.locate(ModelReference(.hub(repository: "a/b", revision: "main", file: nil))) == nil)
        #expect(try store.locate(ModelReference(.path(bench.folder))) == bench.folder)
        let error = await expectError(.modelUnknown) { _ = try store.locate(ModelReference(.name("onee"))) }
        #expect(error.remedy?.hasPrefix("did you mean 'one'?") == true)
        _ = await expectError(.fileNotFound) { _ = try store.locate(ModelReference(.path("/no/such"))) }
    }

    @Test func saysWhenAModelIsDamaged() async throws {
        try put("one", files: ["config.json": [1], "model.safetensors": noise(20, seed: 2)])
        try bench.write(noise(19, seed: 2), to: "models/one/model.safetensors")
        #expect(try store.models()[0].problem == "model.safetensors has 19 bytes instead of 20")
        let error = await expectError(.modelDamaged) { _ = try store.locate(ModelReference(.name("one"))) }
        #expect(error.remedy?.contains("--force") == true)
        unlink("\(bench.folder)/models/one/config.json")
        #expect(try store.models()[0].problem == "config.json is missing")
    }

    @Test(arguments: [
        "", "[]", #"{"format": "other"}"#, #"{"format": "moru-model", "version": 2, "files": []}"#,
        #"{"format": "moru-model", "version": 1, "files": []}"#,
        #"{"format": "moru-model", "version": 1, "files": [{"name": "../x", "size": 1, "sha256": ""}]}"#,
        #"{"format": "moru-model", "version": 1, "files": [{"name": "x", "size": -1, "sha256": ""}]}"#,
    ])
    func refusesManifestsItCannotRead(text: String) async throws {
        try bench.write(Array(text.utf8), to: "models/one/moru.json")
        let error = await expectError(.modelManifestMalformed) { _ = try store.locate(ModelReference(.name("one"))) }
        #expect(error.message.contains("models/one/moru.json"))
        #expect(try store.models()[0].problem != nil)
    }

    @Test func removesModelsAndWhatPullsLeft() async throws {
        try put("one", files: ["m.gguf": [1]])
        try bench.write([1], to: "models/one.partial/m.gguf")
        try bench.write([1], to: "models/smollm2-135m-instruct.partial/m.gguf")
        try store.remove("one")
        try store.remove("SmolLM2")
        #expect(bench.tree("models").isEmpty)
        for name in ["one", "SmolLM2", "two"] {
            _ = await expectError(.modelUnknown) { try store.remove(name) }
        }
        try bench.write([1], to: "precious/file")
        for name in ["../precious", "\(bench.folder)/precious", ".", ".."] {
            #expect(throws: MoruError.self) { try store.remove(name) }
        }
        #expect(FileSystem.exists("\(bench.folder)/precious/file"))
    }

    @Test func aModelThatIsBeingPulledIsNotRemoved() async throws {
        try bench.write([1], to: "models/one/file")
        let lock = try FileLock.attempt(store.lockPath("one"))
        let error = await expectError(.modelBusy) { try store.remove("one") }
        #expect(error.message.contains("a pull of process \(getpid())"), "\(error)")
        lock?.release()
        try store.remove("one")
        #expect(!FileSystem.exists("\(bench.folder)/models/one"))
    }
}

@Suite("Files and hashes")
struct StoreFileTests {
    @Test func hashesAgreeWithKnownOnes() throws {
        let bench = try Workbench()
        // FIPS 180-2, and what `git hash-object` prints for the same bytes.
        let abc = try bench.write(Array("abc".utf8), to: "abc")
        #expect(
            try FileHash.sha256(of: abc) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(try FileHash.gitBlob(of: abc) == "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f")
        let empty = try bench.write([], to: "empty")
        #expect(try FileHash.gitBlob(of: empty) == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391")
        let large = noise(3_000_001, seed: 5)
        #expect(try FileHash.sha256(of: try bench.write(large, to: "large")) == LoopbackHub.sha256(large))
    }

    @Test func aFullDeviceIsADiskFullError() async {
        let error = await expectError(.diskFull) {
            var file = try PartialFile.open("/dev/full")
            try [1, 2, 3].withUnsafeBytes { try file.append($0) }
        }
        #expect(error.message.contains("/dev/full"))
    }

    @Test func aLinkIsNotWrittenThrough() async throws {
        let bench = try Workbench()
        let target = try bench.write([1, 2, 3], to: "precious")
        symlink(target, "\(bench.folder)/link")
        _ = await expectError(.fileUnwritable) { _ = try PartialFile.open("\(bench.folder)/link") }
    }

    @Test func spaceIsKnownAlsoBeforeTheFolderExists() throws {
        let bench = try Workbench()
        let here = try #require(DiskSpace.available(at: bench.folder))
        let below = try #require(DiskSpace.available(at: "\(bench.folder)/not/yet"))
        #expect(here > 0 && abs(here - below) < 1 << 32)
    }
}
