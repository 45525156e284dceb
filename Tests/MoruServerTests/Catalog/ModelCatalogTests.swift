import Dispatch
import MoruBase
import MoruTestKit
import Synchronization
import Testing

@testable import MoruServer

/// Loading, unloading and the memory budget, over HTTP.
@Suite(.tags(.live)) struct ModelCatalogTests {
    private let files = ModelFiles()

    private func ask(_ server: TestServer, _ model: String) async throws -> TestResponse {
        try await server.post(
            "/v1/completions", ["model": .string(model), "prompt": "abc", "max_tokens": 3, "seed": 1])
    }

    private func states(_ server: TestServer) async throws -> [String?] {
        let list = try await server.request("GET", "/v1/models").json["data"]?.array ?? []
        return list.map { $0["state"]?.string }
    }

    /// Three models of one size, and the size.
    private func three() async throws -> ([ModelSpecification], bytes: Int) {
        let specifications = try ["a", "b", "c"].enumerated().map { place, name in
            files.specification(name, try files.llama(name, seed: UInt64(place + 1)))
        }
        let measured = try files.catalog([specifications[0]])
        _ = try await measured.lease("a")
        return (specifications, measured.read(\.usedBytes))
    }

    @Test func severalThatAskAtOnceWaitForOneLoad() async throws {
        let source = try files.llama("a", seed: 1)
        let catalog = try files.catalog([files.specification("a", source)])
        let answers = try await TestServer.run(catalog) { server async throws in
            #expect(try await states(server) == ["unloaded"])
            let answers = try await withThrowingTaskGroup(of: TestResponse.self) { group in
                for _ in 0..<12 { group.addTask { try await ask(server, "a") } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(try await states(server) == ["ready"])
            return answers
        }
        #expect(answers.count == 12 && answers.allSatisfy { $0.status == 200 })
        // Once to see at start that it is there
        #expect(files.located.withLock { $0[source] } == 2)
        #expect(Set(answers.map { $0.json["choices"]?[0]?["text"]?.string }).count == 1)
    }

    @Test func theModelUnusedForLongestMakesRoom() async throws {
        let (specifications, bytes) = try await three()
        let catalog = try files.catalog(specifications, budget: 2 * bytes)
        try await TestServer.run(catalog) { server async throws in
            for name in ["a", "b", "a", "c"] { #expect(try await ask(server, name).status == 200) }
            #expect(try await states(server) == ["ready", "unloaded", "ready"])
            #expect(try await ask(server, "b").status == 200)
            #expect(try await states(server) == ["unloaded", "ready", "ready"])
            #expect(catalog.read(\.usedBytes) == 2 * bytes)
        }
    }

    @Test func whatIsInUseIsNeverUnloaded() async throws {
        let (specifications, bytes) = try await three()
        let catalog = try files.catalog(specifications, budget: bytes)
        try await TestServer.run(catalog) { server async throws in
            var lease: ModelLease? = try await catalog.lease("a")
            let refused = try await ask(server, "b")
            #expect(refused.status == 503 && refused.errorCode == "memory_in_use", "\(refused)")
            #expect(refused.headers["retry-after"] == "1" && refused.body.contains("in use by 'a'"))
            #expect(try await states(server) == ["ready", "unloaded", "unloaded"])
            #expect(lease?.model.name == "a")
            lease = nil
            #expect(try await ask(server, "b").status == 200)
            #expect(try await states(server) == ["unloaded", "ready", "unloaded"])
        }
    }

    @Test func whatIsPinnedStays() async throws {
        var (specifications, bytes) = try await three()
        specifications[0].isPinned = true
        let catalog = try files.catalog(specifications, budget: 2 * bytes)
        try await TestServer.run(catalog) { server async throws in
            for name in ["a", "b", "c"] { #expect(try await ask(server, name).status == 200) }
            #expect(try await states(server) == ["ready", "unloaded", "ready"])
        }
        let small = try files.catalog(specifications, budget: bytes)
        try await TestServer.run(small) { server async throws in
            #expect(try await ask(server, "a").status == 200)
            let refused = try await ask(server, "b")
            #expect(refused.status == 503 && refused.errorCode == "model_too_large", "\(refused)")
            #expect(
                refused.body.contains("of which pinned models take") && refused.headers["x-should-retry"] == "false")
        }
    }

    @Test func aModelThatCannotFitIsRefusedWithFigures() async throws {
        let (specifications, bytes) = try await three()
        try await TestServer.run(try files.catalog(specifications, budget: bytes - 1)) { server async throws in
            let refused = try await ask(server, "a")
            #expect(refused.status == 503 && refused.errorCode == "model_too_large")
            let message = refused.json["error"]?["message"]?.string ?? ""
            #expect(message.contains("keys and values 1 MiB") && message.contains("--memory"), "\(message)")
            #expect(try await states(server) == ["unloaded", "unloaded", "unloaded"])
        }
    }

    @Test func aBudgetBoundsTheKeysAndValuesOfWhoSaysNothing() async throws {
        let source = try files.llama("a", seed: 1)
        var specification = files.specification("a", source)
        specification.engine.cacheBytes = nil
        specification.engine.maximumSequences = 200
        specification.engine.tokenBudget = 800
        let free = try files.catalog([specification])
        _ = try await free.lease("a")
        let wanted = free.read { $0.resident(of: "a")?.cacheBytes ?? 0 }
        let catalog = try files.catalog([specification], budget: 2 * wanted)
        _ = try await catalog.lease("a")
        #expect(catalog.read { $0.resident(of: "a")?.cacheBytes } == wanted / 2)
    }

    @Test func whyAModelCannotBeLoadedIsSaidAndForgivenWhenItCan() async throws {
        let source = try files.llama("a", seed: 1)
        let config = try FileSystem.readText(source + "/config.json")
        try FileSystem.write(config.replacing("\"llama\"", with: "\"deberta\"").utf8, to: source + "/config.json")
        try await TestServer.run(try files.catalog([files.specification("a", source)])) { server async throws in
            let refused = try await ask(server, "a")
            #expect(refused.status == 503 && refused.errorCode == "model_load_failed", "\(refused)")
            #expect(refused.body.contains("'a' could not be loaded") && refused.body.contains("deberta"))
            #expect(try await states(server) == ["failed"])
            try FileSystem.write(config.utf8, to: source + "/config.json")
            #expect(try await ask(server, "a").status == 200)
        }
        let located = files.located.withLock { $0[source] }
        #expect(located == 3)
        let slow = try files.catalog([files.specification("a", source)], retryPause: .seconds(1000))
        FileSystem.remove(source + "/config.json")
        for _ in 0..<2 { await #expect(throws: APIError.self) { try await slow.lease("a") } }
        #expect(files.located.withLock { $0[source] } == 4, "the second is told what the first was")
    }

    @Test func aRequestWaitsOnlySoLongForItsModel() async throws {
        let source = try files.llama("a", seed: 1)
        let isSlow = Atomic(false)
        let gate = DispatchSemaphore(value: 0)
        let catalog = try ModelCatalog([files.specification("a", source)], loadWait: .milliseconds(1)) { source in
            if isSlow.load(ordering: .relaxed) { gate.wait() }
            return source
        }
        try await TestServer.run(catalog) { server async throws in
            isSlow.store(true, ordering: .relaxed)
            let refused = try await ask(server, "a")
            #expect(refused.status == 503 && refused.errorCode == "model_loading", "\(refused)")
            #expect(refused.headers["retry-after"] == "5" && refused.headers["x-should-retry"] == nil)
            #expect(try await states(server) == ["loading"])
            gate.signal()
            while try await states(server) == ["loading"] { try await Task.sleep(for: .milliseconds(2)) }
            #expect(catalog.read { $0.resident(of: "a")?.leases } == 0, "nobody who gave up uses it")
            #expect(try await ask(server, "a").status == 200)
        }
        #expect(throws: MoruError.self) { try ModelCatalog(loadWait: .seconds(-1)) }
    }

    @Test func whoGoesAwayNoLongerWaitsForTheModel() async throws {
        let source = try files.llama("a", seed: 1)
        let isSlow = Atomic(false)
        let gate = DispatchSemaphore(value: 0)
        let catalog = try ModelCatalog([files.specification("a", source)], loadWait: nil) { source in
            if isSlow.load(ordering: .relaxed) { gate.wait() }
            return source
        }
        func waiting() -> Int {
            catalog.read { if case .loading(let waiters) = $0.entries["a"]?.status { waiters.count } else { 0 } }
        }
        try await TestServer.run(catalog) { server async throws in
            isSlow.store(true, ordering: .relaxed)
            let body: JSON = ["model": "a", "prompt": "abc", "max_tokens": 1]
            for path in ["/v1/completions", "/admin/models/load"] {
                let asking = Task {
                    try await server.postAndHangUp(path, path.hasPrefix("/v1") ? body : ["model": "a"])
                }
                try await waitUntil { waiting() == 1 }
                asking.cancel()
                _ = await asking.result
                try await waitUntil { waiting() == 0 }
                let gone: [String: String] = ["endpoint": path, "method": "POST", "model": "", "status": "499"]
                try await waitUntil { try await server.metrics().value("moru_http_requests_total", gone) == 1 }
            }
            #expect(try await states(server) == ["loading"], "others may still want it")
            gate.signal()
            try await waitUntil { try await states(server) == ["ready"] }
            #expect(catalog.read { $0.resident(of: "a")?.leases } == 0, "nobody who has gone uses it")
        }
        // Cancelled before it waits
        let other = try files.catalog([files.specification("a", source)])
        let cancelled = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return try await other.resident(of: "a")
        }
        await #expect(throws: MoruError.self) { try await cancelled.value }
    }

    @Test func whatIsLoadedAtStartIsThereOrThereIsNoServer() async throws {
        var specification = files.specification("a", try files.llama("a", seed: 1))
        specification.loadsAtStart = true
        let catalog = try files.catalog([specification])
        try await TestServer.run(catalog) { server async throws in #expect(try await states(server) == ["ready"]) }
        specification.source = files.path + "/nosuch"
        for loadsAtStart in [true, false] {
            specification.loadsAtStart = loadsAtStart
            let broken = try ModelCatalog([specification]) { source in
                throw MoruError(.fileNotFound, "no \(source)")
            }
            let error = await #expect(throws: MoruError.self) { try await broken.prepare() }
            #expect(error?.code == .fileNotFound && error?.message == "no \(files.path)/nosuch")
        }
    }

    @Test func whatAModelIsForFollowsFromItsFiles() async throws {
        let llama = try files.llama("llama", seed: 1)
        let encoder = try files.encoder("encoder")
        let bare = try files.encoder("bare", isBare: true)
        func all(_ more: [ModelSpecification]) throws -> ModelCatalog {
            try files.catalog(
                [files.specification("llama", llama), files.specification("encoder", encoder)]
                    + [files.specification("bare", bare)] + more)
        }
        let catalog = try all([
            files.specification("headed", try files.classifier("headed", on: llama)),
            files.specification("headed-encoder", try files.classifier("headed-encoder", on: bare)),
            files.specification("lora", try files.lora("lora", on: llama, seed: 5), on: "llama"),
            files.specification(
                "head-on-llama", try files.headAdapter("hl", on: llama, target: "q_proj", seed: 5), on: "llama"),
            files.specification(
                "head-on-encoder", try files.headAdapter("he", on: encoder, target: "query", seed: 5), on: "encoder"),
            ModelSpecification(name: "llama-vectors", source: llama, task: .embed, loadsAtStart: false),
        ])
        var functions: [String: String] = [:]
        for name in catalog.names {
            switch try await catalog.lease(name).model.function {
            case .generator(_, let adapter): functions[name] = adapter == nil ? "generator" : "adapted generator"
            case .classifier(let model):
                #expect(try model.classify(["a text"]).count == 1)
                functions[name] = model.adapter == nil ? "classifier" : "adapted classifier"
            case .embedder(let embedder):
                #expect(try embedder.embed(["a text"]).vectors.shape == [1, 32])
                functions[name] = "embedder"
            }
        }
        #expect(
            functions == [
                "llama": "generator", "encoder": "embedder", "bare": "embedder", "headed": "classifier",
                "headed-encoder": "classifier", "lora": "adapted generator", "head-on-llama": "adapted classifier",
                "head-on-encoder": "adapted classifier", "llama-vectors": "embedder",
            ])
        // What stands on a language model shares its weights
        let (own, base) = catalog.read { ($0.resident(of: "head-on-llama"), $0.resident(of: "llama")) }
        #expect((own?.bytes ?? 0) * 10 < base?.weightBytes ?? 0)
        let unsuitable = try files.catalog([
            files.specification("headed", files.path + "/headed"),
            files.specification("lora", files.path + "/lora", on: "headed"),
        ])
        let error = await #expect(throws: APIError.self) { try await unsuitable.lease("lora") }
        #expect(error?.message.contains("brings no head") == true)
    }

    @Test func adaptersGoWithTheirBase() async throws {
        let (specifications, bytes) = try await three()
        let lora = try files.lora("lora", on: specifications[0].source, seed: 9)
        let all = specifications + [files.specification("tuned", lora, on: "a")]
        let catalog = try files.catalog(all, budget: 2 * bytes)
        try await TestServer.run(catalog) { server async throws in
            #expect(try await ask(server, "tuned").status == 200)
            #expect(try await states(server) == ["ready", "unloaded", "unloaded", "ready"])
            // The adapter takes a little as well, so that one of the models must go for the next
            for name in ["b", "tuned", "c"] { #expect(try await ask(server, name).status == 200) }
            #expect(try await states(server) == ["unloaded", "unloaded", "ready", "unloaded"])
        }
    }

    @Test func namesAreChecked() throws {
        let a = files.specification("a", "a")
        for wrong in [
            [a, a], [files.specification("", "a")], [a, files.specification("b", "b", on: "b")],
            [a, files.specification("b", "b", on: "a"), files.specification("c", "c", on: "b")],
        ] {
            let error = #expect(throws: MoruError.self) { try files.catalog(wrong) }
            #expect(error?.code == .serverConfiguration && error?.remedy != nil)
        }
        let error = #expect(throws: MoruError.self) { try files.catalog([files.specification("b", "b", on: "a")]) }
        #expect(error?.code == .modelUnknown)
        #expect(throws: MoruError.self) { try files.catalog([a], budget: 0) }
    }
}
