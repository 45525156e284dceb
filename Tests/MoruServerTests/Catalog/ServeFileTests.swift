import Foundation
import MoruBase
import MoruEngine
import MoruTestKit
import Testing

@testable import MoruServer

@Suite struct ServeFileTests {
    private static let whole = """
        # What the team serves
        memory: 8192
        load_wait: 2.5
        models:
          - name: chat
            source: smollm2-135m-instruct
            pinned: true
            preload: true
            parallel: 4
            kv_memory: 512
            kv_cache: int8
            speculation: "off"
            max_wait: 20
          - {name: vectors, source: ./encoder, task: embed}
        adapters:
          - name: support@1
            base: chat
            source: runs/one/adapter
          - {name: support@2, base: chat, source: /runs/two, pinned: true}
        aliases:
          default: chat
        routes:
          support:
            models: {support@1: 90, support@2: 10}
            sticky: true
        """

    @Test func aFileSaysWhatIsServed() throws {
        let defaults = EngineConfiguration(maximumSequences: 16, tokenBudget: 528)
        let file = try ServeFile(
            yaml: Self.whole, source: "serve.yaml", directory: "/team", engineDefaults: defaults)
        #expect(file.budget == 8192 << 20 && file.loadWait == .seconds(2.5))
        #expect(file.models.map(\.name) == ["chat", "vectors", "support@1", "support@2"])
        #expect(
            file.models.map(\.source) == [
                "smollm2-135m-instruct", "/team/encoder", "/team/runs/one/adapter", "/runs/two",
            ])
        #expect(file.models.map(\.base) == [nil, nil, "chat", "chat"])
        #expect(file.models.map(\.isPinned) == [true, false, false, true])
        // With a budget, what is not said to be loaded at start is loaded when it is asked for
        #expect(file.models.map(\.loadsAtStart) == [true, false, false, false])
        let engine = file.models[0].engine
        #expect(engine.maximumSequences == 4 && engine.tokenBudget == 516 && engine.cacheBytes == 512 << 20)
        #expect(engine.cacheFormat == .int8 && engine.speculation == .off && engine.maximumWaitSeconds == 20)
        #expect(file.models[1].task == .embed && file.models[1].engine == defaults)
        #expect(file.routes.map(\.name) == ["default", "support"])
        #expect(file.routes[0].route == ModelRoute(alias: "chat"))
        let shares = [ModelRoute.Share("support@1", weight: 90), ModelRoute.Share("support@2", weight: 10)]
        #expect(file.routes[1].route == ModelRoute(shares, isSticky: true))
        let small = try ServeFile(yaml: "models: [{name: a, source: b}]", source: "x")
        #expect(small.budget == nil && small.loadWait == nil && small.models[0].loadsAtStart)
    }

    @Test(arguments: [
        ("modells: []", "x.yaml:1: unknown key 'modells'. Did you mean 'models'?"),
        (
            "models:\n  - name: a\n    source: b\n    kv_memry: 3",
            "x.yaml:4: unknown key 'models[0].kv_memry'. Did you mean"
        ),
        ("models:\n  - name: a\n", "x.yaml:2: 'models[0].source' is required"),
        ("adapters:\n  - {name: a, source: b}", "x.yaml:2: 'adapters[0].base' is required"),
        ("models:\n  - name: a\n    source: b\n    task: embedd", "x.yaml:4: 'models[0].task' is 'embedd'"),
        ("memory: lots", "x.yaml:1: 'memory' must be an integer, not a string"),
        ("memory: 0", "x.yaml:1: 'memory' is 0"), ("load_wait: -1", "x.yaml:1: 'load_wait' is -1"),
        ("models: 3", "x.yaml:1: 'models' must be a list"),
        ("aliases:\n  a: [b]", "x.yaml:2: 'aliases.a' must be the name of a model"),
        ("routes:\n  a:\n    models: {b: c}", "x.yaml:3: 'routes.a.models.b' must be a number"),
        ("routes:\n  a:\n    models: {b: 1}\n    stick: true", "x.yaml:4: unknown key 'routes.a.stick'"),
        ("memory: 1\nmodels: []\nmemory: 2", "x.yaml: memory occurs twice in the mapping at line"),
        ("- a", "x.yaml holds no keys"), ("", "x.yaml holds no keys"), ("a: [", "x.yaml is not valid YAML"),
    ])
    func whatIsWrongIsNamed(yaml: String, message: String) throws {
        let error = #expect(throws: MoruError.self) { try ServeFile(yaml: yaml, source: "x.yaml") }
        #expect(error?.code == .serverConfiguration && error?.remedy != nil)
        #expect(error?.message.hasPrefix(message) == true, "\(error?.message ?? "")")
    }

    @Test func aliasesOfAliasesAreNotFollowedForEver() throws {
        let names = (0..<12).map { "a\($0)" }
        let bomb = zip(names, names.dropFirst()).map { last, name in
            "\(name): &\(name) [\(Array(repeating: "*\(last)", count: 9).joined(separator: ", "))]"
        }
        let yaml = (["a0: &a0 [1, 2]"] + bomb).joined(separator: "\n")
        let error = #expect(throws: MoruError.self) { try ServeFile(yaml: yaml, source: "x.yaml") }
        #expect(error?.message.contains("more than 100000 values") == true, "\(String(describing: error))")
    }

    @Test func routesAreSavedAndTheRestStays() throws {
        let path = TestNeeds.temporaryPath("serve.yaml")
        defer { FileSystem.remove(path) }
        let routes = [
            ("support", ModelRoute([.init("support@1", weight: 50), .init("support@2", weight: 50)])),
            ("odd: \"name\"", ModelRoute(alias: "chat")),
        ]
        let end = "\n# The end\n"
        try FileSystem.write((Self.whole + end).utf8, to: path)
        try ServeFile.save(routes, to: path)
        let text = try FileSystem.readText(path)
        let kept = Self.whole.components(separatedBy: "aliases:")[0]
        #expect(text.hasPrefix(kept) && text.hasSuffix(end) && !text.contains("sticky"))
        let again = try ServeFile(path)
        #expect(again.routes.map(\.name) == ["odd: \"name\"", "support"] && again.routes[1].route == routes[0].1)
        #expect(
            again.models
                == (try ServeFile(
                    yaml: Self.whole, source: path, directory: (path as NSString).deletingLastPathComponent
                ).models))
        try ServeFile.save([], to: path)
        #expect(try ServeFile(path).routes.isEmpty)
        try ServeFile.save(routes, to: path)
        #expect(try ServeFile(path).routes.count == 2)
        // What cannot be found is not written twice
        let odd = "models: []\n\"routes\": {a: {models: {b: 1}}}\n"
        try FileSystem.write(odd.utf8, to: path)
        #expect(throws: MoruError.self) { try ServeFile.save(routes, to: path) }
        #expect(try FileSystem.readText(path) == odd)
    }

    @Test func aServerSavesToItsFile() async throws {
        let files = ModelFiles()
        _ = try files.llama("a", seed: 1)
        let path = files.path + "/serve.yaml"
        try FileSystem.write("models:\n  - {name: a, source: ./a}  # mine\n".utf8, to: path)
        let file = try ServeFile(path)
        #expect(
            (file.models[0].source as NSString).lastPathComponent == "a" && FileSystem.exists(file.models[0].source))
        var configuration = ServerConfiguration()
        configuration.configurationFile = path
        configuration.modelsBesidesFile = ["named"]
        let named = ModelSpecification(name: "named", source: files.path + "/a")
        let catalog = try ModelCatalog([named] + file.models)
        try await TestServer.run(catalog, configuration: configuration) { server async throws in
            #expect(try await server.request("PUT", "/admin/routes/b", body: #"{"model": "a"}"#).status == 200)
            #expect(try ServeFile(path).routes.isEmpty, "only on request")
            // A model that was added since is unknown to the next server
            let added: JSON = ["model": "c", "source": .string(files.path + "/a")]
            #expect(try await server.post("/admin/models/load", added).status == 200)
            #expect(try await server.request("PUT", "/admin/routes/d", body: #"{"model": "c"}"#).status == 200)
            let refused = try await server.post("/admin/save", [:])
            let message = refused.json["error"]?["message"]?.string ?? ""
            #expect(refused.status == 400 && message.contains("'c'") && message.contains("'d'"), "\(message)")
            #expect(try ServeFile(path).routes.isEmpty)
            #expect(try await server.request("DELETE", "/admin/routes/d").status == 200)
            #expect(try await server.post("/admin/save", [:]).json["saved"]?.string == path)
            // One that is named on the command line is there again
            #expect(try await server.request("PUT", "/admin/routes/e", body: #"{"model": "named"}"#).status == 200)
            #expect(try await server.post("/admin/save", [:]).status == 200)
            #expect(try ServeFile(path).routes.map(\.name) == ["b", "e"])
            #expect(try await server.request("DELETE", "/admin/routes/e").status == 200)
            #expect(try await server.post("/admin/save", [:]).status == 200)
        }
        #expect(
            try FileSystem.readText(path) == "models:\n  - {name: a, source: ./a}  # mine\naliases:\n  \"b\": \"a\"\n")
    }
}
