import MoruBase
import MoruTestKit
import Testing

@testable import MoruStore

// What a hub does not give, and what is not taken from one.
extension HubPullTests {
    // MARK: - Access

    @Test func tellsHowToGetAccess() async throws {
        let hub = try await hub()
        defer { Task { await hub.stop() } }
        hub[name].gated = true
        let gated = await expectError(.hubAccessDenied) { _ = try await store(hub).pull(reference) }
        #expect(gated.message.contains("gated"))
        #expect(gated.remedy?.contains("\(hub.endpoint)/acme/tiny") == true)
        #expect(gated.remedy?.contains("HF_TOKEN") == true)
        #expect(gated.description.contains("the hub says: Access to this model is restricted"))
        let known = await expectError(.hubAccessDenied) {
            _ = try await store(hub, ["HF_TOKEN": "hf_mine"]).pull(reference)
        }
        #expect(known.remedy?.contains("whose token is in HF_TOKEN") == true)

        hub.mischief.token = "hf_secret"
        let hidden = await expectError(.hubNotFound) { _ = try await store(hub).pull(reference) }
        #expect(hidden.remedy?.contains("set HF_TOKEN") == true)
        let wrong = await expectError(.hubAccessDenied) {
            _ = try await store(hub, ["HF_TOKEN": "hf_old"]).pull(reference)
        }
        #expect(wrong.message.contains("does not accept the token from HF_TOKEN"))
        #expect(!wrong.description.contains("hf_old"))
        #expect(bench.tree("home/models").isEmpty)
    }

    @Test(arguments: [("hf:acme/huge", "acme/huge"), ("hf:acme/tiny@v9", "no revision 'v9'")])
    func namesWhatIsMissing(text: String, part: String) async throws {
        let hub = try await hub()
        defer { Task { await hub.stop() } }
        let error = await expectError(.hubNotFound) {
            _ = try await store(hub).pull(try ModelReference(parsing: text))
        }
        #expect(error.message.contains(part))
        #expect(error.remedy != nil)
    }

    // MARK: - Wrong and hostile answers

    @Test(arguments: ["model.safetensors", "config.json"])
    func wrongBytesLeaveNothing(file: String) async throws {
        let hub = try await hub()
        defer { Task { await hub.stop() } }
        hub.mischief.corrupt = [file]
        let store = store(hub)
        let error = await expectError(.hashMismatch) { _ = try await store.pull(reference) }
        #expect(error.message.contains(file))
        #expect(try store.models().isEmpty)
        #expect(try store.locate(reference) == nil)
        #expect(!FileSystem.exists("\(bench.folder)/\(modelFolder).partial/\(file)"))
        hub.mischief.corrupt = []
        _ = try await store.pull(reference)
        try expectEqual(stored("model.safetensors"), weights)
    }

    @Test func aSizeOtherThanListedIsRefused() async throws {
        let hub = try await hub()
        defer { Task { await hub.stop() } }
        hub.mischief.liesAboutSize = true
        let error = await expectError(.sizeMismatch) { _ = try await store(hub).pull(reference) }
        #expect(error.message.contains("300000") && error.message.contains("300001"))
    }

    @Test func redirectsInACircleEnd() async throws {
        let hub = try await hub()
        defer { Task { await hub.stop() } }
        hub.mischief.loops = true
        let error = await expectError(.hubResponseMalformed) { _ = try await store(hub).pull(reference) }
        #expect(error.message.contains("redirects"))
    }

    @Test(arguments: [
        ("../escape.safetensors", #""size": 5"#, MoruError.Code.hubFileNameUnsafe),
        ("/etc/model.safetensors", #""size": 5"#, .hubFileNameUnsafe),
        ("a/../../model.safetensors", #""size": 5"#, .hubFileNameUnsafe),
        (#"a\\..\\model.safetensors"#, #""size": 5"#, .hubFileNameUnsafe),
        (#"a\u0000.safetensors"#, #""size": 5"#, .hubFileNameUnsafe),
        ("moru.json", #""size": 5"#, .hubFileNameUnsafe),
        ("model.safetensors", #""size": -1"#, .hubResponseMalformed),
        ("model.safetensors", #""size": 9223372036854775807"#, .hubResponseMalformed),
        ("model.safetensors", #""size": 1e300"#, .hubResponseMalformed),
        ("model.safetensors", #""size": 5, "lfs": {"sha256": "zz", "size": 5}"#, .hubResponseMalformed),
        ("model.safetensors", #""size": 5, "lfs": {"size": 6}"#, .hubResponseMalformed),
    ])
    func hostileListingsAreRefused(file: String, rest: String, code: MoruError.Code) async throws {
        let hub = try await hub()
        defer { Task { await hub.stop() } }
        let commit = String(repeating: "a", count: 40)
        hub.mischief.information =
            #"{"id": "acme/tiny", "sha": "\#(commit)", "siblings": [{"rfilename": "\#(file)", \#(rest)}]}"#
        let error = await expectError(code) { _ = try await store(hub).pull(reference) }
        #expect(error.remedy != nil)
        #expect(bench.tree("home/models").isEmpty)
        #expect(hub.requests(containing: "/resolve/").isEmpty)
    }

    @Test(arguments: [
        "", "<html>", "[]", #"{"id": "acme/tiny"}"#, #"{"id": "acme/tiny", "sha": "../..", "siblings": []}"#,
    ])
    func answersThatAreNoListingAreRefused(text: String) async throws {
        let hub = try await hub()
        defer { Task { await hub.stop() } }
        hub.mischief.information = text
        _ = await expectError(.hubResponseMalformed) { _ = try await store(hub).pull(reference) }
    }
}
