import MoruBase
import MoruModels
import MoruTestKit
import NIOCore
import Testing

@testable import MoruServer

/// What changes a server while it serves, over HTTP.
@Suite(.tags(.live)) struct AdministrationTests {
    private let files = ModelFiles()

    private func body(_ model: String, tokens: Int = 24, temperature: Double = 0.3, seed: Int = 1) -> JSON {
        [
            "model": .string(model), "prompt": "abc", "max_tokens": .int(tokens), "temperature": .double(temperature),
            "seed": .int(seed), "logit_bias": ["258": -100],
        ]
    }

    private func text(_ response: TestResponse) -> String? { response.json["choices"]?[0]?["text"]?.string }

    @Test func modelsComeAndGo() async throws {
        let (a, b) = (try files.llama("a", seed: 1), try files.llama("b", seed: 2))
        let catalog = try files.catalog([files.specification("a", a)])
        try await TestServer.run(catalog) { server async throws in
            #expect(try await server.post("/v1/completions", body("b")).status == 404)
            let added = try await server.post(
                "/admin/models/load",
                ["model": "b", "source": .string(b), "kv_memory": 1, "parallel": 3, "pinned": true])
            #expect(added.status == 200 && added.json["state"] == "ready" && added.json["pinned"] == true, "\(added)")
            #expect(added.json["task"] == "generate" && added.json["kv_bytes"]?.int ?? 0 <= 1 << 20)
            #expect(try await server.post("/v1/completions", body("b")).status == 200)
            let loaded = try await server.post("/admin/models/load", ["model": "a"])
            #expect(loaded.json["state"] == "ready")
            let list = try await server.request("GET", "/admin/models").json
            #expect(list["models"]?.array?.map { $0["name"]?.string } == ["a", "b"])
            #expect(list["memory"]?["used_bytes"]?.int == catalog.read(\.usedBytes) && list["leaving"] == [])
            let unloaded = try await server.post("/admin/models/unload", ["model": "a"])
            #expect(unloaded.json == ["name": "a", "removed": false, "requests_at_work": 0])
            #expect(catalog.read { $0.resident(of: "a") } == nil)
            #expect(try await server.post("/v1/completions", body("a")).status == 200)
            let removed = try await server.post("/admin/models/unload", ["model": "b", "remove": true])
            #expect(removed.json["removed"] == true)
            #expect(try await server.post("/v1/completions", body("b")).errorCode == "model_not_found")
        }
    }

    @Test func whatWasUnloadedInUseIsFinishedFirst() async throws {
        let catalog = try files.catalog([files.specification("a", try files.llama("a", seed: 1))])
        try await TestServer.run(catalog) { server async throws in
            var lease: ModelLease? = try await catalog.lease("a")
            let unloaded = try await server.post("/admin/models/unload", ["model": "a"])
            #expect(unloaded.json["requests_at_work"] == 1)
            let leaving = try await server.request("GET", "/admin/models").json["leaving"]
            #expect(leaving?[0]?["name"] == "a" && leaving?[0]?["requests_at_work"] == 1)
            #expect(try lease?.model.generating().generator.engine.contextLength ?? 0 > 0)
            lease = nil
            #expect(catalog.read(\.residents).isEmpty)
        }
    }

    @Test func aSwapFailsNoRequest() async throws {
        let (a, b) = (try files.llama("a", seed: 1), try files.llama("b", seed: 2))
        let lora = try files.lora("lora", on: a, seed: 5)
        let catalog = try files.catalog(
            [files.specification("m", a), files.specification("tuned", lora, on: "m")])
        let (old, new) = try await TestServer.run(catalog) { server -> ([TestResponse], [TestResponse]) in
            var expected: [[TestResponse]] = [[], []]
            for model in ["m", "tuned"] { expected[0].append(try await server.post("/v1/completions", body(model))) }
            let answers = try await withThrowingTaskGroup(of: [TestResponse].self) { group in
                for worker in 0..<4 {
                    group.addTask {
                        var answers: [TestResponse] = []
                        for _ in 0..<12 {
                            answers.append(
                                try await server.post("/v1/completions", body(worker % 2 == 0 ? "m" : "tuned")))
                        }
                        return answers
                    }
                }
                for source in [b, a, b] {
                    let swapped = try await server.post(
                        "/admin/models/swap", ["model": "m", "source": .string(source)])
                    #expect(swapped.status == 200, "\(swapped)")
                }
                return try await group.reduce(into: []) { $0 += $1 }
            }
            for model in ["m", "tuned"] { expected[1].append(try await server.post("/v1/completions", body(model))) }
            for answer in answers {
                #expect(answer.status == 200)
                // Each is of one model, whole: the old one or the new
                #expect(
                    (expected[0] + expected[1]).contains {
                        text($0) == text(answer) && $0.json["model"] == answer.json["model"]
                    })
            }
            let revision = try await server.request("GET", "/admin/models").json["models"]?[0]?["revision"]
            #expect(revision == 4 && expected[1][0].headers["x-moru-version"] == "4")
            return (expected[0], expected[1])
        }
        #expect(text(old[0]) != text(new[0]) && text(old[1]) != text(new[1]))
        #expect(old[0].json["system_fingerprint"] != new[0].json["system_fingerprint"])
        #expect(catalog.read(\.residents).count == 2)
    }

    @Test func aSwapThatCannotBeChangesNothing() async throws {
        let a = try files.llama("a", seed: 1)
        let lora = try files.lora("lora", on: a, seed: 5)
        let encoder = try files.encoder("encoder")
        let catalog = try files.catalog([files.specification("m", a), files.specification("tuned", lora, on: "m")])
        try await TestServer.run(catalog) { server async throws in
            let before = try await server.post("/v1/completions", body("tuned"))
            let missing = try await server.post("/admin/models/swap", ["model": "m", "source": "/nosuch"])
            #expect(missing.status == 404 && missing.errorCode == "model_load_failed", "\(missing)")
            let misfit = try await server.post("/admin/models/swap", ["model": "m", "source": .string(encoder)])
            #expect(misfit.status >= 400 && misfit.body.contains("'m' stays as it is"), "\(misfit)")
            let after = try await server.post("/v1/completions", body("tuned"))
            #expect(text(before) == text(after) && after.status == 200)
            #expect(catalog.read { $0.entries["m"]?.revision } == 1)
            // The files themselves may have changed
            let again = try await server.post("/admin/models/swap", ["model": "m"])
            #expect(again.json["revision"] == 2)
        }
    }

    @Test func whoAsksWhileSomethingElseIsDoneIsAnswered() async throws {
        let (a, b) = (try files.llama("a", seed: 1), try files.llama("b", seed: 2))
        let catalog = try files.catalog([files.specification("m", a)])
        try await TestServer.run(catalog) { server async throws in
            for source in [b, "/nosuch", a, "/nosuch"] {
                _ = try catalog.unload("m", removes: false)
                let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
                    group.addTask {
                        let swap: JSON = ["model": "m", "source": .string(source)]
                        return try await server.post("/admin/models/swap", swap).status == 200 ? 200 : 404
                    }
                    for _ in 0..<6 { group.addTask { try await server.post("/v1/completions", body("m")).status } }
                    return try await group.reduce(into: [Int]()) { $0.append($1) }
                }
                let refused = statuses.count { $0 == 404 }
                #expect(statuses.count == 7 && statuses.count { $0 == 200 } == 7 - refused, "\(statuses)")
                // While it is being loaded, it cannot be swapped either
                #expect(refused <= 1)
            }
        }
    }

    @Test func adaptersAreAddedAsWithVLLM() async throws {
        let a = try files.llama("a", seed: 1)
        let (one, two) = (try files.lora("one", on: a, seed: 1), try files.lora("two", on: a, seed: 2))
        let catalog = try files.catalog([files.specification("m", a)])
        try await TestServer.run(catalog) { server async throws in
            let added = try await server.post("/v1/load_lora_adapter", ["lora_name": "x", "lora_path": .string(one)])
            #expect(added.status == 200 && added.body == "Success: LoRA adapter 'x' added successfully.")
            let first = try await server.post("/v1/completions", body("x"))
            let again = try await server.post("/v1/load_lora_adapter", ["lora_name": "x", "lora_path": .string(two)])
            #expect(again.status == 409, "\(again)")
            let inPlace = try await server.post(
                "/v1/load_lora_adapter", ["lora_name": "x", "lora_path": .string(two), "load_inplace": true])
            #expect(inPlace.status == 200, "\(inPlace)")
            let second = try await server.post("/v1/completions", body("x"))
            #expect(first.status == 200 && text(first) != text(second))
            #expect(try await server.post("/v1/unload_lora_adapter", ["lora_name": "m"]).errorCode == "invalid_value")
            let gone = try await server.post("/v1/unload_lora_adapter", ["lora_name": "x", "lora_int_id": nil])
            #expect(gone.status == 200 && gone.body.contains("removed successfully"))
            #expect(try await server.post("/v1/unload_lora_adapter", ["lora_name": "x"]).status == 404)
            #expect(try await server.post("/v1/completions", body("x")).status == 404)
            let missing = try await server.post("/v1/load_lora_adapter", ["lora_name": "y", "lora_path": "/nosuch"])
            #expect(missing.status == 404 && catalog.names == ["m"], "\(missing)")
        }
    }

    @Test func whoMayIsDecidedByKeysAndPlaces() async throws {
        let models = try TestServer.tinyModels()
        func status(_ server: TestServer, _ path: String, key: String?) async throws -> Int {
            let headers = key.map { [("Authorization", "Bearer \($0)")] } ?? []
            return try await server.request("GET", path, headers: headers).status
        }
        var both = ServerConfiguration(apiKey: "client")
        both.adminKey = "admin"
        try await TestServer.run(models, configuration: both) { server async throws in
            for (path, key, expected) in [
                ("/admin/models", "admin", 200), ("/admin/models", "client", 401), ("/admin/models", nil, 401),
                ("//admin/models", "client", 401), ("/v1/models", "client", 200), ("/v1/models", "admin", 401),
            ] as [(String, String?, Int)] {
                #expect(try await status(server, path, key: key) == expected, "\(path) \(key ?? "-")")
            }
            let adapter = try await server.post("/v1/load_lora_adapter", ["lora_name": "x", "lora_path": "y"])
            #expect(adapter.status == 401)
            let name = models[0].name
            for (path, key, expected) in [
                ("index", "client", 200), ("index", "admin", 401), ("models/\(name)/load", "client", 401),
                ("models/\(name)/load", "admin", 200), ("models/\(name)/reload", "admin", 404),
            ] {
                let headers = [("Authorization", "Bearer \(key)")]
                let answer = try await server.request("POST", "/v2/repository/\(path)", body: "", headers: headers)
                #expect(answer.status == expected, "\(path) \(key)")
            }
        }
        try await TestServer.run(models, configuration: ServerConfiguration(apiKey: "client")) { server async throws in
            #expect(try await status(server, "/admin/models", key: "client") == 200)
            #expect(try await status(server, "/admin/models", key: nil) == 401)
        }
        try await TestServer.run(models) { server async throws in
            #expect(try await status(server, "/admin/models", key: nil) == 200)
            let elsewhere = try await server.request("GET", "/admin/models", headers: [("Host", "evil.example")])
            #expect(elsewhere.status == 403 && elsewhere.errorCode == "loopback_only", "\(elsewhere)")
        }
        let address = { (text: String) in try SocketAddress(ipAddress: text, port: 1) }
        for text in ["127.0.0.1", "127.9.9.9", "::1"] { #expect(AdminAccess.isLoopback(try address(text))) }
        for text in ["10.0.0.1", "::2", "128.0.0.1"] { #expect(!AdminAccess.isLoopback(try address(text))) }
        #expect(!AdminAccess.isLoopback(nil))
        for name in ["localhost:80", "127.0.0.1", "[::1]:80", nil] { #expect(AdminAccess.namesLoopback(name)) }
        for name in ["127.0.0.1.evil.example", "evil.example", "10.0.0.1:80"] {
            #expect(!AdminAccess.namesLoopback(name))
        }
        var empty = ServerConfiguration()
        empty.adminKey = ""
        #expect(throws: MoruError.self) { try empty.validate() }
    }

    @Test func whatMakesNoSenseIsRefused() async throws {
        let a = try files.llama("a", seed: 1)
        let lora = try files.lora("lora", on: a, seed: 5)
        let catalog = try files.catalog([files.specification("m", a), files.specification("tuned", lora, on: "m")])
        try catalog.set(ModelRoute(alias: "tuned"), as: "route")
        let requests: [(String, String, JSON, Int, String)] = [
            ("POST", "/admin/models/load", [:], 400, "missing_required_parameter"),
            ("POST", "/admin/models/load", ["model": "n"], 404, "model_not_found"),
            ("POST", "/admin/models/load", ["model": "m", "source": .string(a)], 409, "model.name-taken"),
            ("POST", "/admin/models/load", ["model": "route", "source": .string(a)], 409, "model.name-taken"),
            ("POST", "/admin/models/load", ["model": "n", "source": "/nosuch"], 404, "model_load_failed"),
            ("POST", "/admin/models/load", ["model": "n", "base": "m"], 400, "missing_required_parameter"),
            (
                "POST", "/admin/models/load", ["model": "n", "base": "q", "source": .string(lora)], 404,
                "model_not_found"
            ),
            (
                "POST", "/admin/models/load", ["model": "n", "base": "tuned", "source": .string(lora)], 400,
                "server.configuration"
            ),
            (
                "POST", "/admin/models/load", ["model": "n", "source": "x", "sorce": "x"], 400, "unknown_parameter"
            ),
            ("POST", "/admin/models/load", ["model": "n", "source": "x", "task": "embedd"], 400, "invalid_value"),
            ("POST", "/admin/models/load", ["model": "n", "source": "x", "parallel": 0], 400, "invalid_value"),
            ("POST", "/admin/models/unload", ["model": "n"], 404, "model_not_found"),
            ("POST", "/admin/models/unload", ["model": "m", "remove": true], 409, "model.busy"),
            ("POST", "/admin/models/unload", ["model": "tuned", "remove": true], 409, "model.busy"),
            ("POST", "/admin/models/swap", ["model": "n", "source": "x"], 404, "model_not_found"),
            ("PUT", "/admin/routes/r", ["models": [:]], 400, "model.route-invalid"),
            ("PUT", "/admin/routes/r", ["models": ["m": "1"]], 400, "invalid_type"),
            ("PUT", "/admin/routes/r", ["model": "route"], 400, "model.route-invalid"),
            ("PUT", "/admin/routes/r", ["models": ["n": 1]], 404, "model_not_found"),
            ("PUT", "/admin/routes/r", [:], 400, "missing_required_parameter"),
            ("PUT", "/admin/routes/m", ["model": "tuned"], 409, "model.name-taken"),
            ("DELETE", "/admin/routes/r", [:], 404, "model_not_found"),
            ("POST", "/admin/save", [:], 409, "no_configuration_file"),
        ]
        try await TestServer.run(catalog) { server async throws in
            for (method, path, body, status, code) in requests {
                let response = try await server.request(method, path, body: body.text())
                #expect(
                    response.status == status && response.errorCode == code, "\(method) \(path) \(body): \(response)")
            }
            #expect(catalog.names == ["m", "tuned"] && catalog.read(\.routeNames) == ["route"])
            let form = try await server.request(
                "POST", "/admin/models/unload", body: #"{"model": "m"}"#, headers: [("Content-Type", "text/plain")])
            #expect(form.status == 415)
        }
    }

    @Test func routesChangeWhileServing() async throws {
        let a = try files.llama("a", seed: 1)
        let catalog = try files.catalog([files.specification("m", a), files.specification("n", a)])
        try await TestServer.run(catalog) { server async throws in
            let set = try await server.request(
                "PUT", "/admin/routes/team%2Fchat", body: #"{"models": {"m": 3, "n": 1}, "sticky": true}"#)
            #expect(set.json["route"] == ["models": ["m": 3.0, "n": 1.0], "sticky": true], "\(set)")
            #expect(try await server.post("/v1/completions", body("team/chat")).status == 200)
            let routes = try await server.request("GET", "/admin/routes").json
            #expect(routes["routes"]?.object?.keys == ["team/chat"])
            #expect(try await server.request("DELETE", "/admin/routes/team%2Fchat").status == 200)
            #expect(try await server.post("/v1/completions", body("team/chat")).status == 404)
        }
    }

    @Test func adaptersOfOneBaseAreMixedAndEachIsAsAlone() async throws {
        let a = try files.llama("a", seed: 1)
        var specifications = [files.specification("m", a)]
        for seed in 1...3 as ClosedRange<UInt64> {
            let (lora, prompt) = ("lora-\(seed)", "prompt-\(seed)")
            specifications.append(files.specification(lora, try files.lora(lora, on: a, seed: seed), on: "m"))
            specifications.append(
                files.specification(prompt, try files.promptTuning(prompt, on: a, seed: seed), on: "m"))
        }
        let names = specifications.map(\.name)
        let (alone, together) = try await TestServer.run(try files.catalog(specifications)) { server async throws in
            var alone: [String: String?] = [:]
            for (place, name) in names.enumerated() {
                alone[name] = text(
                    try await server.post("/v1/completions", body(name, tokens: 20, temperature: 1, seed: place)))
            }
            let together = try await withThrowingTaskGroup(of: (String, String?).self) { group in
                for _ in 0..<3 {
                    for (place, name) in names.enumerated() {
                        group.addTask {
                            (
                                name,
                                text(
                                    try await server.post(
                                        "/v1/completions", body(name, tokens: 20, temperature: 1, seed: place)))
                            )
                        }
                    }
                }
                return try await group.reduce(into: [(String, String?)]()) { $0.append($1) }
            }
            return (alone, together)
        }
        #expect(Set(alone.values).count == names.count, "each adapter says something of its own")
        #expect(together.count == 3 * names.count && together.allSatisfy { $0.1 != nil && alone[$0.0] == $0.1 })
    }
}
