import Foundation
import MoruBase
import NIOHTTP1
import Testing

@testable import MoruStore

@Suite("The hub's settings and rules")
struct HubSettingsTests {
    @Test func tokensComeFromTheUsualPlaces() async throws {
        let bench = try Workbench()
        #expect(try HubSettings(environment: ["HOME": bench.folder]).token == nil)
        try bench.write(Array("hf_file\n".utf8), to: ".cache/huggingface/token")
        let fromFile = try HubSettings(environment: ["HOME": bench.folder])
        #expect(fromFile.token == "hf_file")
        #expect(fromFile.tokenOrigin == "\(bench.folder)/.cache/huggingface/token")
        let old = ["HOME": bench.folder, "HUGGING_FACE_HUB_TOKEN": "hf_old"]
        #expect(try HubSettings(environment: old).token == "hf_old")
        #expect(try HubSettings(environment: old.merging(["HF_TOKEN": " hf_new "]) { $1 }).token == "hf_new")
        let error = await expectError(.hubAccessDenied) {
            _ = try HubSettings(environment: ["HF_TOKEN": "hf_a\nX-Evil: 1"])
        }
        #expect(!error.description.contains("Evil"))
    }

    @Test func theAddressMustBeHTTP() async throws {
        #expect(
            try HubSettings(environment: ["HF_ENDPOINT": "http://mirror.example/hf//"]).endpoint
                == "http://mirror.example/hf")
        #expect(try HubSettings(environment: [:]).endpoint.hasPrefix("https://"))
        for text in ["mirror.example", "ftp://x", "https://", "a b"] {
            let error = await expectError(.hubAddressInvalid) {
                _ = try HubSettings(environment: ["HF_ENDPOINT": text])
            }
            #expect(error.message.contains("HF_ENDPOINT"))
        }
    }

    @Test func proxiesAreUsedUnlessExempt() throws {
        func proxy(_ further: [String: String]) throws -> String? {
            try HubSettings(
                environment: ["HF_ENDPOINT": "https://hub.example.org", "HTTPS_PROXY": "http://p:1"].merging(further) {
                    $1
                }
            ).proxy
        }
        #expect(try proxy([:]) == "http://p:1")
        for exempt in ["hub.example.org", ".example.org", "example.org", "a, hub.example.org", "*"] {
            #expect(try proxy(["NO_PROXY": exempt]) == nil, "\(exempt)")
        }
        for other in ["ample.org", "org.example", "other"] {
            #expect(try proxy(["no_proxy": other]) != nil, "\(other)")
        }
        #expect(try proxy(["HF_ENDPOINT": "http://hub.example.org"]) == nil)
    }

    @Test func retryAfterIsSecondsOrADate() {
        func wait(_ text: String) -> Duration? {
            HubClient.retryAfter(
                HTTPHeaders([("Retry-After", text)]), now: Date(timeIntervalSince1970: 784_111_777))
        }
        #expect(wait("7") == .seconds(7))
        #expect(wait("Sun, 06 Nov 1994 08:49:47 GMT") == .seconds(10))
        #expect(wait("Sun, 06 Nov 1994 08:00:00 GMT") == .zero)
        #expect(wait("-3") == nil && wait("soon") == nil && wait("1e300") == nil)
    }

    @Test func addressesAreEncodedAndCompared() {
        #expect(HubClient.encode("a b/ü?#%.gguf") == "a%20b/%C3%BC%3F%23%25.gguf")
        #expect(HubClient.encode("refs/pr/1", keepSlash: false) == "refs%2Fpr%2F1")
        #expect(HubClient.origin(of: "https://Hub.example/x") == HubClient.origin(of: "https://hub.example:443"))
        #expect(HubClient.origin(of: "https://hub.example") != HubClient.origin(of: "http://hub.example"))
        #expect(HubClient.origin(of: "https://hub.example") != HubClient.origin(of: "https://hub.example.evil"))
        #expect(HubClient.origin(of: "https://hub.example@evil") == "https://evil:443")
        #expect(HubClient.contentRange("bytes 5-9/10")?.start == 5)
        #expect(HubClient.contentRange("bytes 5-9/*")?.total == nil)
        #expect(HubClient.contentRange("bytes */10") == nil)
        #expect(HubClient.contentRange("lines 5-9/10") == nil)
    }

    @Test func redirectsStayEncrypted() async throws {
        let client = try HubClient(settings: HubSettings(endpoint: "https://hub.example"))
        let url = "https://hub.example/a/b/resolve/main/x"
        #expect(try client.redirectTarget(from: url, location: "/c/d?x=%2F") == "https://hub.example/c/d?x=%2F")
        #expect(
            try client.redirectTarget(from: url, location: "https://cdn.example/y?s=a%3Db")
                == "https://cdn.example/y?s=a%3Db")
        #expect(try client.redirectTarget(from: "http://h/x", location: "http://other/y") == "http://other/y")
        for location in ["http://cdn.example/y", "file:///etc/passwd", "https://", "javascript:x", nil] {
            let error = await expectError(.hubResponseMalformed) {
                _ = try client.redirectTarget(from: url, location: location)
            }
            #expect(error.remedy?.contains("HF_ENDPOINT") == true)
        }
    }
}

@Suite("Which files make up a model")
struct HubFileSelectionTests {
    private func select(_ names: [String], file: String? = nil) throws -> [String] {
        let siblings = names.map { JSON.object(JSONObject([("rfilename", .string($0)), ("size", 5)])) }
        let info = try HubModelInfo(
            json: ["id": "a/b", "sha": .string(String(repeating: "0", count: 40)), "siblings": .array(siblings)],
            source: "test")
        return try HubFileSelection.select(from: info, file: file).map(\.name)
    }

    private let companions = ["config.json", "tokenizer.json", "tokenizer_config.json"]

    @Test func oneFileOrShards() throws {
        #expect(
            try select(companions + ["model.safetensors", "pytorch_model.bin", "README.md", "x/y.json"])
                == companions + ["model.safetensors"])
        let shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
        let index = ["model.safetensors.index.json"]
        #expect(
            try select(companions + shards + index + ["consolidated.safetensors", "consolidated.00.pth"])
                == companions + shards + index)
        #expect(try select(["odd.safetensors"]) == ["odd.safetensors"])
    }

    @Test func sentenceTransformersAndAdapters() throws {
        let names = ["config.json", "model.safetensors", "modules.json", "1_Pooling/config.json", "vocab.txt"]
        #expect(try select(names + ["onnx/model.onnx", "onnx/config.json", "openvino/x.bin"]) == names)
        #expect(
            try select(["2_Dense/config.json", "2_Dense/model.safetensors", "model.safetensors"]).count == 3)
        #expect(
            try select(["adapter_config.json", "adapter_model.safetensors"])
                == ["adapter_config.json", "adapter_model.safetensors"])
    }

    @Test func repositoriesThatCannotBeUsedSayWhy() async throws {
        let binary = await expectError(.hubFilesUnsupported) { _ = try select(["config.json", "pytorch_model.bin"]) }
        #expect(binary.message.contains("pytorch_model.bin"))
        #expect(binary.remedy?.contains("safetensors") == true)
        let many = await expectError(.hubFilesUnsupported) { _ = try select(["m.Q4.gguf", "m.Q8.gguf"]) }
        #expect(many.message.contains("m.Q4.gguf, m.Q8.gguf"))
        #expect(many.remedy == "for example: moru pull hf:a/b:m.Q4.gguf")
        let none = await expectError(.hubFilesUnsupported) { _ = try select(["README.md"]) }
        #expect(none.message.contains("no weights"))
        #expect(try select(["m.Q4.gguf", "m.Q8.gguf"], file: "m.Q8.gguf") == ["m.Q8.gguf"])
    }

    @Test func aFileListedTwiceIsRefused() async {
        _ = await expectError(.hubResponseMalformed) { _ = try select(["model.safetensors", "model.safetensors"]) }
    }

    /// A listing with random bytes changed is read or refused, and never names a file outside the directory.
    @Test func spoiltListingsAreReadOrRefused() throws {
        let hash = String(repeating: "c", count: 64)
        let valid = Array(
            #"""
            {"id": "a/b", "sha": "\#(hash.prefix(40))", "gated": "auto", "tags": ["license:mit"], "siblings": [
            {"rfilename": "d/model.safetensors", "size": 120, "lfs": {"sha256": "\#(hash)", "size": 120}},
            {"rfilename": "config.json", "size": 12, "blobId": "\#(hash.prefix(40))"}], "config": {"model_type": "x"}}
            """#.utf8)
        _ = try HubModelInfo(json: JSON.parse(valid, source: "test"), source: "test")
        var generator = SplitMix64(seed: 20_260)
        let interesting = Array(#"/.\"-+eE019{}[],:"#.utf8)
        var read = 0
        for _ in 0..<4000 {
            var bytes = valid
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                let place = Int.random(in: 0..<bytes.count, using: &generator)
                bytes[place] = interesting.randomElement(using: &generator) ?? 0
            }
            do throws(MoruError) {
                let info = try HubModelInfo(json: JSON.parse(bytes, source: "test"), source: "test")
                read += 1
                for file in info.files {
                    #expect(SafeFileName.problem(with: file.name) == nil)
                    #expect((file.size ?? 0) >= 0)
                }
            } catch {
                #expect(!error.message.isEmpty)
            }
        }
        #expect(read > 0)
    }
}
