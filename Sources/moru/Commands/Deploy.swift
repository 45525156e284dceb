import ArgumentParser
import Foundation
import MoruBase
import MoruServer
import MoruStore

/// `moru deploy`: changes what a running server serves.
struct Deploy: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List, load, replace and route the models of a running server.",
        discussion: """
            The server is at MORU_HOST and MORU_PORT, or at --server URL. If it requires a
            key, MORU_ADMIN_KEY is sent, or else MORU_API_KEY.

            Examples:
              moru deploy list
              moru deploy load vectors all-minilm-l6-v2
              moru deploy load support@2 runs/support/adapter --base smollm2
              moru deploy route support support@1=90 support@2=10 --sticky
              moru deploy swap smollm2 ./smollm2-tuned
              moru deploy unload support@1 --remove
            """,
        subcommands: [DeployList.self, DeployLoad.self, DeployUnload.self, DeploySwap.self, DeployRoute.self])
}

/// The server that is asked.
struct DeployServer: ParsableArguments {
    @Option(help: ArgumentHelp("The server. Default: MORU_HOST and MORU_PORT.", valueName: "url"))
    var server: String?
    @OptionGroup var output: OutputOptions

    /// Sends a request, and prints the answer as JSON or as text.
    func send(_ method: String, _ path: String, _ body: JSON? = nil, text: (JSON) -> Void) async throws {
        let settings = try Settings.load()
        var host = settings.value(.host)
        if ["0.0.0.0", "::"].contains(host) { host = "127.0.0.1" }
        let address = host.contains(":") ? "[\(host)]" : host
        let keys = [settings.value(.adminKey), settings.value(.apiKey)]
        let client = AdminClient(
            url: server ?? "http://\(address):\(settings.port)", key: keys.first { !$0.isEmpty })
        let answer = try await client.send(method, path, body)
        if output.json { Terminal.result(answer.text(pretty: true)) } else { text(answer) }
    }

    /// A path that is there as one that the server can open too; a model's name as it is.
    static func source(_ text: String) -> String {
        let path = (text as NSString).expandingTildeInPath
        guard FileSystem.exists(path), !path.hasPrefix("/") else { return path }
        return (FileManager.default.currentDirectoryPath + "/" + path as NSString).standardizingPath
    }
}

/// `moru deploy list`.
struct DeployList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List models, routes and memory.",
        discussion: """
            Examples:
              moru deploy list
              moru deploy list --server http://10.0.0.7:8080 --json
            """)

    @OptionGroup var server: DeployServer

    func run() async throws {
        try await server.send("GET", "/admin/models") { answer in
            var table = Table(
                ["model", "version", "state", "does", "memory", "requests", "source"],
                [.left, .left, .left, .left, .right, .right])
            for model in answer["models"]?.array ?? [] {
                let bytes = (model["weight_bytes"]?.int ?? 0) + (model["kv_bytes"]?.int ?? 0)
                let base = model["base"]?.string.map { " on \($0)" } ?? ""
                table.add(
                    (model["name"]?.string ?? "") + (model["pinned"] == true ? " (pinned)" : ""),
                    model["version"]?.string ?? "", model["state"]?.string ?? "", model["task"]?.string ?? "-",
                    model["state"] == "ready" ? ByteCount.text(bytes) : "-", "\(model["requests_at_work"]?.int ?? 0)",
                    (model["source"]?.string ?? "-") + base)
            }
            Terminal.result(table.text)
            for (name, route) in answer["routes"]?.object.map({ Array($0.members) }) ?? [] {
                Terminal.result("\(name) -> \(DeployRoute.text(of: route))")
            }
            let used = ByteCount.text(answer["memory"]?["used_bytes"]?.int ?? 0)
            let budget = answer["memory"]?["budget_bytes"]?.int.map { " of \(ByteCount.text($0))" } ?? ""
            Terminal.talk("memory: \(used)\(budget)")
            for model in answer["models"]?.array ?? [] {
                if let error = model["error"]?.string { Terminal.talk("\(model["name"]?.string ?? ""): \(error)") }
            }
        }
    }
}

/// How a model is to be served.
struct DeployModelOptions: ParsableArguments {
    @Option(help: "What the model is used for: generate, classify or embed.")
    var task: ModelSpecification.Task?
    @Option(help: ArgumentHelp("The maximum number of requests computed together.", valueName: "n"))
    var parallel: Int?
    @Option(name: .customLong("kv-memory"), help: ArgumentHelp("Memory for the KV cache.", valueName: "MiB"))
    var cacheMebibytes: Int?
    @Option(help: ArgumentHelp("A small model with the same tokenizer that drafts tokens.", valueName: "model"))
    var draft: String?
    @Flag(help: "Never unload it to make room for others.")
    var pinned = false

    /// The body of a request to serve what lies at a source, or an adapter of a base, under a name.
    func body(_ name: String, source: String?, base: String? = nil) -> JSON {
        let fields: [(String, JSON?)] = [
            ("model", .string(name)), ("source", source.map { .string(DeployServer.source($0)) }),
            ("base", base.map { .string($0) }), ("task", task.map { .string($0.rawValue) }),
            ("parallel", parallel.map { .int($0) }), ("kv_memory", cacheMebibytes.map { .int($0) }),
            ("draft", draft.map { .string(DeployServer.source($0)) }), ("pinned", pinned ? true : nil),
        ]
        return .object(JSONObject(fields.compactMap { name, value in value.map { (name, $0) } }))
    }
}

/// `moru deploy load`.
struct DeployLoad: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "load", abstract: "Load a model that the server knows, or add one.",
        usage: "moru deploy load <name> [<source>] [--base <name>] [<options>]",
        discussion: """
            Examples:
              moru deploy load smollm2
              moru deploy load vectors all-minilm-l6-v2 --pinned
              moru deploy load support runs/support/adapter --base smollm2
            """)

    @Argument(help: "The name that clients use.")
    var name: String
    @Argument(help: "To add a model: a name, a directory or a .gguf file.")
    var source: String?
    @Option(help: ArgumentHelp("The base model, if it is an adapter.", valueName: "name"))
    var base: String?
    @OptionGroup var options: DeployModelOptions
    @OptionGroup var server: DeployServer

    func run() async throws {
        try await server.send("POST", "/admin/models/load", options.body(name, source: source, base: base)) { _ in
            Terminal.talk("\(name) is loaded")
        }
    }
}

/// `moru deploy unload`.
struct DeployUnload: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "unload", abstract: "Unload a model; running requests are completed.",
        discussion: """
            The next request loads it again, unless its name is removed too.

            Examples:
              moru deploy unload vectors
              moru deploy unload support@1 --remove
            """)

    @Argument(help: "The model.")
    var name: String
    @Flag(help: "Remove its name from the server as well.")
    var remove = false
    @OptionGroup var server: DeployServer

    func run() async throws {
        let body: JSON = ["model": .string(name), "remove": .bool(remove)]
        try await server.send("POST", "/admin/models/unload", body) { answer in
            let working = answer["requests_at_work"]?.int ?? 0
            let rest = working > 0 ? ", once \(working) \(working == 1 ? "request has" : "requests have") ended" : ""
            Terminal.talk("\(name) is \(remove ? "removed" : "unloaded")\(rest)")
        }
    }
}

/// `moru deploy swap`.
struct DeploySwap: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "swap", abstract: "Replace a model without failing a request.",
        usage: "moru deploy swap <name> [<source>] [<options>]",
        discussion: """
            New requests go to the new model once it is loaded; running requests finish on
            the old one. Without a source, the same files are loaded again.

            Examples:
              moru deploy swap support runs/support-2/adapter
              moru deploy swap smollm2
            """)

    @Argument(help: "The name that clients use.")
    var name: String
    @Argument(help: "A model's name, a directory or a .gguf file.")
    var source: String?
    @OptionGroup var options: DeployModelOptions
    @OptionGroup var server: DeployServer

    func run() async throws {
        try await server.send("POST", "/admin/models/swap", options.body(name, source: source)) { answer in
            Terminal.talk("\(name) is replaced (revision \(answer["revision"]?.int ?? 0))")
        }
    }
}

/// `moru deploy route`.
struct DeployRoute: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "route", abstract: "Divide the requests for a name among models by weight, or make an alias.",
        usage: "moru deploy route <name> [<model[=weight]> ...] [<options>]",
        discussion: """
            Examples:
              moru deploy route support support@1=90 support@2=10
              moru deploy route support support@2
              moru deploy route support --remove
              moru deploy route support support@2 --save
            """)

    @Argument(help: "The name that clients use.")
    var name: String
    @Argument(help: ArgumentHelp("A model, or several models with weights.", valueName: "model[=weight]"))
    var shares: [String] = []
    @Flag(help: "Keep the requests of one user on one model.")
    var sticky = false
    @Flag(help: "Remove the route.")
    var remove = false
    @Flag(help: "Write the routes into the server's configuration file too.")
    var save = false
    @OptionGroup var server: DeployServer

    func validate() throws {
        if remove == !shares.isEmpty { throw ValidationError("Name the models of the route, or --remove it.") }
        _ = try weights()
    }

    private func weights() throws -> JSONObject {
        var weights = JSONObject()
        for share in shares {
            // Names may have equals signs, weights have none
            let (name, weight) =
                share.lastIndex(of: "=").map {
                    (String(share[..<$0]), Double(share[share.index(after: $0)...]))
                } ?? (share, 1)
            guard let weight, !name.isEmpty else {
                throw ValidationError("\(share): write MODEL=WEIGHT, such as support@2=10.")
            }
            weights[name] = .double(weight)
        }
        return weights
    }

    func run() async throws {
        let path = "/admin/routes/" + AdminClient.segment(name)
        if remove {
            try await server.send("DELETE", path) { _ in Terminal.talk("\(name) is removed") }
        } else {
            let body: JSON = ["models": .object(try weights()), "sticky": .bool(sticky)]
            try await server.send("PUT", path, body) { answer in
                Terminal.talk("\(name) -> \(Self.text(of: answer["route"] ?? .null))")
            }
        }
        guard save else { return }
        try await server.send("POST", "/admin/save", [:]) { answer in
            Terminal.talk("saved to \(answer["saved"]?.string ?? "")")
        }
    }

    /// A route for people: `support@1 90.0 %, support@2 10.0 %`.
    static func text(of route: JSON) -> String {
        let shares = route["models"]?.object.map { Array($0.members) } ?? []
        let sum = shares.reduce(0) { $0 + ($1.value.double ?? 0) }
        let texts = shares.map {
            shares.count == 1 ? $0.key : "\($0.key) \(Format.percent(($0.value.double ?? 0) / sum))"
        }
        return texts.joined(separator: ", ") + (route["sticky"] == true ? ", sticky" : "")
    }
}
