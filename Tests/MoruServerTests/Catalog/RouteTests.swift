import Dispatch
import MoruBase
import MoruTestKit
import Testing

@testable import MoruServer

/// Aliases and weighted routes, over HTTP.
@Suite(.tags(.live)) struct RouteTests {
    private let files = ModelFiles()

    private func versions(seed: UInt64 = 7) throws -> ModelCatalog {
        let base = try files.llama("base", seed: 1)
        return try ModelCatalog(
            [
                files.specification("base", base),
                files.specification("support@1", try files.lora("one", on: base, seed: 1), on: "base"),
                files.specification("support@2", try files.lora("two", on: base, seed: 2), on: "base"),
            ], seed: seed)
    }

    private func body(_ model: String, user: String? = nil, stream: Bool = false) -> JSON {
        [
            "model": .string(model), "prompt": "abc", "max_tokens": 4, "temperature": 0, "stream": .bool(stream),
            "user": user.map { .string($0) } ?? .null, "logit_bias": ["258": -100],
        ]
    }

    @Test func theOpenInferenceProtocolKnowsRoutes() async throws {
        let catalog = try versions()
        try catalog.set(ModelRoute([.init("support@1"), .init("support@2")]), as: "canary")
        try await TestServer.run(catalog) { server async throws in
            let metadata = try await server.request("GET", "/v2/models/canary")
            #expect(metadata.json["name"] == "canary" && metadata.json["versions"] == ["1", "2"], "\(metadata)")
            let infer: JSON = [
                "inputs": [["name": "text", "datatype": "BYTES", "shape": [1], "data": ["abc"]]],
                "parameters": ["max_tokens": 4, "temperature": 0, "logit_bias": ["258": -100]],
            ]
            for version in ["1", "2"] {
                let direct = try await server.post("/v1/completions", body("support@\(version)"))
                let routed = try await server.post("/v2/models/canary/versions/\(version)/infer", infer)
                #expect(routed.json["model_version"] == .string(version), "\(routed)")
                #expect(routed.json["outputs"]?[0]?["data"]?[0] == direct.json["choices"]?[0]?["text"])
            }
            // Each of its models has been loaded to answer
            #expect(try await server.request("GET", "/v2/models/canary/ready").status == 200)
            let missing = try await server.request("GET", "/v2/models/canary/versions/3")
            #expect(missing.status == 404 && missing.body.contains("no version '3'; it has '1', '2'"), "\(missing)")
        }
    }

    /// A model that cannot be loaded is not added, so no route may lead to one before it is loaded.
    @Test func noRouteLeadsToWhatIsStillBeingAdded() async throws {
        let base = try files.llama("base", seed: 1)
        let gate = DispatchSemaphore(value: 0)
        let catalog = try ModelCatalog([files.specification("base", base)]) { source in
            if source != base { gate.wait() }
            return source
        }
        for (name, source) in [("bad", "/nosuch"), ("good", base + "/../base")] {
            let specification = files.specification(name, source)
            let adding = Task { try await catalog.add(specification) }
            while catalog.read({ $0.entries[name] == nil }) { try await Task.sleep(for: .milliseconds(1)) }
            do {
                try catalog.set(ModelRoute([.init("base"), .init(name)]), as: "canary")
                Issue.record("the route was set")
            } catch {
                #expect(error.code == .modelBusy && error.message.contains("'\(name)' is being added"), "\(error)")
            }
            gate.signal()
            let result = await adding.result
            #expect((try? result.get()) != nil || name == "bad")
        }
        #expect(catalog.names == ["base", "good"] && catalog.read(\.routeNames).isEmpty)
        try catalog.set(ModelRoute([.init("base"), .init("good")]), as: "canary")
    }

    /// Also where whoever added it has gone, and others ask for it meanwhile.
    @Test func whatCannotBeLoadedIsNotAddedForAnybody() async throws {
        let gate = DispatchSemaphore(value: 0)
        let catalog = try ModelCatalog { source in
            gate.wait()
            return source
        }
        let specification = files.specification("bad", "/nosuch")
        let adding = Task { try await catalog.add(specification) }
        while catalog.read({ $0.entries["bad"] == nil }) { try await Task.sleep(for: .milliseconds(1)) }
        adding.cancel()
        await #expect(throws: (any Error).self) { try await adding.value }
        let asking = Task { try await catalog.lease("bad") }
        gate.signal()
        await #expect(throws: APIError.self) { _ = try await asking.value }
        #expect(catalog.names.isEmpty)
    }

    @Test func theModelThatAnsweredIsNamed() async throws {
        let catalog = try versions()
        try catalog.set(ModelRoute(alias: "support@2"), as: "support")
        try await TestServer.run(catalog) { server async throws in
            let direct = try await server.post("/v1/completions", body("support@2"))
            let routed = try await server.post("/v1/completions", body("support"))
            for response in [direct, routed] {
                #expect(response.status == 200 && response.json["model"] == "support@2", "\(response)")
                #expect(response.headers["x-moru-model"] == "support@2" && response.headers["x-moru-version"] == "2")
            }
            #expect(direct.json["choices"] == routed.json["choices"])
            let stream = try await server.post("/v1/completions", body("support", stream: true))
            #expect(stream.headers["x-moru-model"] == "support@2")
            #expect(stream.events.count > 2 && stream.events.allSatisfy { $0["model"] == "support@2" })
            let listed = try await server.request("GET", "/v1/models").json["data"]?.array ?? []
            #expect(listed.map { $0["id"]?.string } == ["base", "support@1", "support@2", "support"])
            #expect(listed[2]["version"] == "2" && listed[1]["state"] == "unloaded" && listed[2]["state"] == "ready")
            #expect(listed[3]["root"] == "support@2" && listed[3]["route"]?["models"] == ["support@2": 1.0])
            #expect(try await server.request("GET", "/v1/models/support").json == listed[3])
            let unknown = try await server.post("/v1/completions", body("suport"))
            #expect(unknown.status == 404 && unknown.body.contains("Did you mean 'support'?"))
            #expect(unknown.headers["x-moru-model"] == nil)
        }
    }

    @Test func sharesAreByWeight() async throws {
        let catalog = try versions(seed: 11)
        try catalog.set(ModelRoute([.init("support@1", weight: 90), .init("support@2", weight: 10)]), as: "support")
        var counts: [String: Int] = [:]
        for _ in 0..<3000 { counts[try await catalog.lease("support").model.name, default: 0] += 1 }
        // A standard deviation is 16.4
        #expect(abs((counts["support@2"] ?? 0) - 300) < 60, "\(counts)")
        #expect(counts["support@1", default: 0] + counts["support@2", default: 0] == 3000)
        try catalog.set(ModelRoute([.init("support@1", weight: 0), .init("support@2", weight: 0.5)]), as: "support")
        for _ in 0..<50 { #expect(try await catalog.lease("support").model.name == "support@2") }
    }

    @Test func aStickyRouteKeepsUsers() async throws {
        let catalog = try versions()
        func shares(_ first: Double) throws {
            try catalog.set(
                ModelRoute(
                    [.init("support@1", weight: first), .init("support@2", weight: 100 - first)], isSticky: true),
                as: "support")
        }
        func models() async throws -> [String] {
            var models: [String] = []
            for user in 0..<1000 { models.append(try await catalog.lease("support", user: "user-\(user)").model.name) }
            return models
        }
        try shares(80)
        let first = try await models()
        let second = try await models()
        #expect(first == second)
        // A standard deviation is 12.6
        #expect(abs(first.count { $0 == "support@2" } - 200) < 50)
        try shares(60)
        let later = try await models()
        #expect(zip(first, later).allSatisfy { $0 == $1 || ($0 == "support@1" && $1 == "support@2") })
        var nobody: Set<String> = []
        for _ in 0..<60 { nobody.insert(try await catalog.lease("support").model.name) }
        #expect(nobody.count == 2, "who names no user is shared out at random")
        try await TestServer.run(catalog) { server async throws in
            for (user, model) in later.enumerated().prefix(6) {
                let answer = try await server.post("/v1/completions", body("support", user: "user-\(user)"))
                #expect(answer.json["model"] == .string(model))
            }
        }
    }

    @Test func everyEndpointThatKnowsUsersKeepsThem() async throws {
        let models = try LabellingModels()
        let pairs: [(String, ServedModel.Function)] = [
            ("vectors", .embedder(models.embedder)), ("moods", .classifier(models.single)),
        ]
        let catalog = try ModelCatalog(
            loaded: pairs.flatMap { name, function in
                ["1", "2"].map { ServedModel(name: "\(name)@\($0)", function) }
            })
        for (name, _) in pairs {
            try catalog.set(ModelRoute([.init("\(name)@1"), .init("\(name)@2")], isSticky: true), as: name)
        }
        let requests: [(path: String, model: String, body: JSON)] = [
            ("/v1/embeddings", "vectors", ["input": "abc"]), ("/classify", "moods", ["input": "abc"]),
            ("/score", "vectors", ["text_1": "abc", "text_2": "abd"]),
            ("/rerank", "vectors", ["query": "abc", "documents": ["abd", "x"]]),
        ]
        try await TestServer.run(catalog) { server async throws in
            for (path, model, body) in requests {
                var answered: Set<String> = []
                for user in 0..<12 {
                    var fields = try #require(body.object)
                    (fields["model"], fields["user"]) = (.string(model), .string("user-\(user)"))
                    let its = try await catalog.lease(model, user: "user-\(user)").model.name
                    let answer = try await server.post(path, .object(fields))
                    #expect(answer.status == 200 && answer.headers["x-moru-model"] == its, "\(answer)")
                    answered.insert(its)
                }
                #expect(answered.count == 2)
                let wrong = try await server.post(path, ["model": .string(model), "user": 3])
                #expect(wrong.status == 400 && wrong.body.contains("'user'"), "\(wrong)")
            }
        }
    }

    @Test func routesThatLeadNowhereAreRefused() throws {
        let catalog = try versions()
        try catalog.set(ModelRoute(alias: "support@1"), as: "support")
        let wrong: [(String, ModelRoute, MoruError.Code, String)] = [
            ("a", ModelRoute(alias: "a"), .routeInvalid, "leads to itself"),
            ("a", ModelRoute(alias: "support"), .routeInvalid, "which is a route itself"),
            ("support", ModelRoute(alias: "support"), .routeInvalid, "leads to itself"),
            ("a", ModelRoute([]), .routeInvalid, "leads to no model"),
            ("", ModelRoute(alias: "base"), .routeInvalid, "is empty"),
            ("a\r\nb: c", ModelRoute(alias: "base"), .routeInvalid, "a control character"),
            (" a", ModelRoute(alias: "base"), .routeInvalid, "begins or ends with a space"),
            ("a@", ModelRoute(alias: "base"), .routeInvalid, "nothing before or after its @"),
            (String(repeating: "a", count: 300), ModelRoute(alias: "base"), .routeInvalid, "300 bytes"),
            ("a", ModelRoute([.init("base"), .init("base")]), .routeInvalid, "twice"),
            ("a", ModelRoute([.init("base", weight: -1)]), .routeInvalid, "the weight -1"),
            ("a", ModelRoute([.init("base", weight: .nan)]), .routeInvalid, "the weight nan"),
            ("a", ModelRoute([.init("base", weight: 0)]), .routeInvalid, "no weights above 0"),
            ("base", ModelRoute(alias: "support@1"), .modelNameTaken, "already a model 'base'"),
            ("a", ModelRoute(alias: "bas"), .modelUnknown, "Did you mean 'base'?"),
        ]
        for (name, route, code, part) in wrong {
            let error = #expect(throws: MoruError.self) { try catalog.set(route, as: name) }
            #expect(error?.code == code && error?.message.contains(part) == true, "\(String(describing: error))")
        }
    }
}
