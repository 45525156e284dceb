import ArgumentParser
import Foundation
import Logging
import MoruBase
import MoruEngine
import MoruModels
import MoruNN
import MoruServer
import MoruStore

/// `moru serve`: answers requests over HTTP.
struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serve a model over the OpenAI API.",
        usage: "moru serve <model> [--adapter <name>=<directory> ...] [<options>]",
        discussion: """
            Endpoints: GET /v1/models, POST /v1/chat/completions, POST /v1/completions,
            GET /health, GET /metrics (for Prometheus); and POST /tokenize, POST
            /detokenize, GET /tokenizer_info, as vLLM has them. Each adapter is a model of its own name on the same base. Set
            MORU_API_KEY to ask clients for a key.

            Requests that begin alike share what is computed (usage says how many tokens:
            prompt_tokens_details.cached_tokens); users, as the field 'user' names them,
            share the machine fairly; and a server that has too much to do says so at once
            (429). An answer is the same, whatever else is being answered.

            Examples:
              moru serve smollm2-135m-instruct
              moru serve smollm2-135m-instruct --adapter feedback=runs/feedback/adapter
              moru serve smollm2-135m-instruct --parallel 32 --kv-memory 4096 --max-wait 20
              curl http://127.0.0.1:8080/v1/chat/completions \\
                -H 'Content-Type: application/json' -d '{"model":
                "smollm2-135m-instruct", "messages": [{"role": "user", "content": "Hi"}]}'
            """)

    @OptionGroup var model: ModelArgument
    @Option(
        name: .customLong("adapter"),
        help: ArgumentHelp("An adapter to serve beside the model; may be repeated.", valueName: "name=directory"))
    var adapters: [String] = []
    @Option(help: "The name that the model is served under. Default: its own.")
    var name: String?
    @Option(help: "The address to listen on. Default: MORU_HOST, or 127.0.0.1.")
    var host: String?
    @Option(parsing: .unconditional, help: "The port to listen on; 0 takes any free one. Default: MORU_PORT, or 8080.")
    var port: Int?
    @OptionGroup var engine: EngineOptions
    @Option(
        help: ArgumentHelp(
            "A small model with the same tokenizer that guesses tokens; answers are the same.", valueName: "model"))
    var draft: String?
    @Option(help: ArgumentHelp("Requests that are computed together; others wait.", valueName: "n"))
    var parallel = 16
    @Option(
        name: .customLong("kv-memory"),
        help: ArgumentHelp(
            "Memory for keys and values. Default: what all requests together may need, at most a quarter of the machine's.",
            valueName: "MiB"))
    var cacheMebibytes: Int?
    @Option(
        name: .customLong("max-wait"),
        help: ArgumentHelp(
            "Refuse a request (429, with Retry-After) that would likely wait longer to begin.", valueName: "seconds"))
    var maximumWait = 60.0
    @Flag(help: "Log every request: model, tokens, times.")
    var verbose = false

    func validate() throws {
        for text in adapters { _ = try Self.parse(text) }
    }

    func run() async throws {
        let settings = try Settings.load()
        let pretrained = try model.load()
        var engineConfiguration = engine.configuration
        engineConfiguration.maximumSequences = parallel
        engineConfiguration.tokenBudget = 512 + max(0, parallel)
        engineConfiguration.cacheBytes = cacheMebibytes.map { $0 << 20 }
        engineConfiguration.maximumWaitSeconds = maximumWait
        engineConfiguration.maximumWaitingTokens = Self.maximumWaitingTokens
        let generator = try TextGenerator(
            pretrained, configuration: engineConfiguration, draft: try draft.map { try ModelArgument.load($0) })
        let baseName = name ?? Self.servedName(model.model)
        var served = [ServedModel(name: baseName, generator: generator)]
        for text in adapters {
            let (name, directory) = try Self.parse(text)
            guard !served.contains(where: { $0.name == name }) else {
                throw MoruError(
                    .adapterMismatch, "two models are called \(name)", remedy: "give each adapter its own name")
            }
            let adapter = try AdapterDirectory.load(from: directory, for: pretrained.model)
            served.append(ServedModel(name: name, generator: generator, adapter: adapter))
        }
        var configuration = ServerConfiguration()
        configuration.host = host ?? settings.value(.host)
        configuration.port = port ?? settings.port
        let key = settings.value(.apiKey)
        configuration.apiKey = key.isEmpty ? nil : key
        var logger = Logger(label: "moru.server")
        logger.logLevel = verbose ? .info : .warning
        let names = served.map(\.name).joined(separator: ", ")
        let shownHost = configuration.host
        let server = MoruServer(configuration: configuration, models: served, logger: logger)
        try await server.run { port in
            Terminal.talk("serving \(names) at http://\(shownHost):\(port)/v1 (Ctrl-C stops)")
        }
    }

    /// Tokens that may wait at most, however fast the machine is.
    private static let maximumWaitingTokens = 1 << 20

    private static func parse(_ text: String) throws -> (name: String, directory: String) {
        let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
        guard parts.count == 2 else {
            throw ValidationError("--adapter \(text): write NAME=DIRECTORY, such as feedback=runs/feedback/adapter.")
        }
        return (parts[0], parts[1])
    }

    /// A name for a model that was given as a path.
    private static func servedName(_ model: String) -> String {
        guard model.contains("/") else { return model }
        let last = (model as NSString).lastPathComponent
        return last.hasSuffix(".gguf") ? (last as NSString).deletingPathExtension : last
    }
}
