import ArgumentParser
import Foundation
import Logging
import MoruBase
import MoruEngine
import MoruServer
import MoruStore

/// `moru serve`: answers requests over HTTP.
struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serve models over the OpenAI API.",
        usage: "moru serve [<model>] [--adapter <name>=<directory> ...] [<options>]",
        discussion: """
            Endpoints: GET /v1/models, POST /v1/chat/completions, POST /v1/completions,
            POST /v1/responses, POST /v1/embeddings, POST /v1/moderations, GET /health,
            GET /metrics (for Prometheus); and POST /classify, POST /score, POST /rerank,
            POST /tokenize, POST /detokenize, GET /tokenizer_info, as in vLLM; and
            the Open Inference Protocol of KServe and Triton: GET /v2, GET
            /v2/health/live, GET /v2/health/ready, GET /v2/models/NAME, POST
            /v2/models/NAME/infer, .../generate and .../generate_stream. Each adapter is
            served as a model with its own name on the same base. Set MORU_API_KEY to
            require a key from clients.

            What a model does follows from its files: a model with a head classifies, an
            encoder or a sentence-transformers directory produces embeddings, others
            generate text; an adapter does what it was trained for.

            The file given with --config names models, adapters, aliases and weighted
            routes; `moru deploy` and /admin change them while the server runs (key:
            MORU_ADMIN_KEY, or else MORU_API_KEY; without either, only from this machine).

            Requests with a common prefix share its computation (usage reports the tokens:
            prompt_tokens_details.cached_tokens); users, as named by the field 'user',
            share the machine fairly; and an overloaded server says so at once (429). A
            request gets the same answer whatever else is being served.

            The options that containers pass to vLLM's and KServe's servers are accepted
            too, and the server then listens on all addresses: --model,
            --served-model-name, --max-model-len, --max-num-seqs, --lora-modules, --api-key
            and some that ask for what Moru does anyway (docs/serving.md).

            Examples:
              moru serve smollm2-135m-instruct
              moru serve smollm2-135m-instruct --adapter feedback=runs/feedback/adapter
              moru serve --config serve.yaml --memory 8192
              moru serve smollm2-135m-instruct --parallel 32 --kv-memory 4096 --max-wait 20
              moru serve --port=8080 --model=/mnt/models --served-model-name=support
              moru serve smollm2-135m-instruct --prefix-cache ~/.cache/moru/prefixes
              curl http://127.0.0.1:8080/v1/chat/completions \\
                -H 'Content-Type: application/json' -d '{"model":
                "smollm2-135m-instruct", "messages": [{"role": "user", "content": "Hi"}]}'
            """)

    @Argument(help: "A model: a name that `moru models` lists, a directory, or a .gguf file.")
    var model: String?
    @Option(
        help: ArgumentHelp("A YAML file of models, adapters, aliases and routes.", valueName: "file"),
        completion: .file())
    var config: String?
    @Option(
        name: .customLong("adapter"),
        help: ArgumentHelp("An adapter to serve beside the model; may be repeated.", valueName: "name=directory"))
    var adapters: [String] = []
    @Option(help: "What the model is used for: generate, classify or embed. Default: according to its files.")
    var task: ModelSpecification.Task?
    @Option(help: "The name that the model is served under. Default: its own.")
    var name: String?
    @Option(help: "The address to listen on. Default: MORU_HOST, or 127.0.0.1.")
    var host: String?
    @Option(parsing: .unconditional, help: "The port to listen on; 0 takes any free one. Default: MORU_PORT, or 8080.")
    var port: Int?
    @OptionGroup var engine: EngineOptions
    @Option(
        help: ArgumentHelp(
            "A small model with the same tokenizer that drafts tokens; answers stay the same.", valueName: "model"))
    var draft: String?
    @Option(help: ArgumentHelp("The maximum number of requests computed together; others wait.", valueName: "n"))
    var parallel = 16
    @Option(
        name: .customLong("kv-memory"),
        help: ArgumentHelp(
            "Memory for the KV cache. Default: what all requests together may need, at most a quarter of the machine's.",
            valueName: "MiB"))
    var cacheMebibytes: Int?
    @Option(
        name: .customLong("prefix-cache"),
        help: ArgumentHelp(
            "Keep computed prompts in this folder when memory is short and across restarts.",
            valueName: "directory"))
    var prefixCache: String?
    @Option(
        name: .customLong("prefix-cache-size"),
        help: ArgumentHelp(
            "The maximum size of --prefix-cache; the least recently used pages are deleted.", valueName: "MiB")
    )
    var prefixCacheMebibytes = 4096
    @Option(
        name: .customLong("max-wait"),
        help: ArgumentHelp(
            "Refuse requests (429, with Retry-After) that would probably wait longer to start.", valueName: "seconds"))
    var maximumWait = 60.0
    @Option(
        name: .customLong("load-wait"),
        help: ArgumentHelp(
            "Refuse requests (503, with Retry-After) whose model takes longer to load. Default: 60.",
            valueName: "seconds"))
    var loadWait: Double?
    @Option(
        name: .customLong("memory"),
        help: ArgumentHelp(
            "Memory for all models; idle ones are unloaded to make room. Default: no limit.", valueName: "MiB"))
    var memoryMebibytes: Int?
    @Option(
        name: .customLong("drain-delay"),
        help: ArgumentHelp(
            "After SIGTERM, keep serving for this long while reporting not ready.", valueName: "seconds"))
    var drainDelay = 0.0
    @OptionGroup var compatibility: ServeCompatibility
    @Flag(help: "Log every request: model, tokens, times.")
    var verbose = false
    @Option(help: ArgumentHelp("The log format: text, or json with one object per line.", valueName: "format"))
    var logFormat = LogFormat.text

    func validate() throws {
        if model != nil, compatibility.model != nil { throw ValidationError("There are two models: name one.") }
        if source == nil, config == nil { throw ValidationError("Name a model, or a file with --config.") }
        if source == nil, name != nil || task != nil || draft != nil || !adapters.isEmpty {
            throw ValidationError("--name, --task, --draft and --adapter are for a model that is named here.")
        }
        guard (0...3600).contains(drainDelay) else {
            throw ValidationError("--drain-delay is \(drainDelay); use 0 to 3600 seconds.")
        }
        if let loadWait, !(0...1e9).contains(loadWait) {
            throw ValidationError("--load-wait is \(loadWait); use 0 or more seconds.")
        }
        guard (1...65_536).contains(parallel) else {
            throw ValidationError("--parallel is \(parallel); use 1 to 65536 requests.")
        }
        for text in adapters { _ = try Self.parse(text) }
        let largest = 1 << 30
        for (name, mebibytes) in [
            ("memory", memoryMebibytes), ("kv-memory", cacheMebibytes), ("prefix-cache-size", prefixCacheMebibytes),
        ] {
            if let mebibytes, !(1...largest ~= mebibytes) {
                throw ValidationError("--\(name) is \(mebibytes); use 1 to \(largest) MiB.")
            }
        }
    }

    private var source: String? { model ?? compatibility.source }

    func run() async throws {
        let settings = try Settings.load()
        var logger = Logger(label: "moru.server") { [logFormat] _ in ServerLogHandler(logFormat) }
        logger.logLevel = verbose || compatibility.logsRequests ? .info : .warning
        let defaults = try engineConfiguration(logger)
        let file = try config.map { try ServeFile($0, engineDefaults: defaults) }
        let named = try specifications(defaults)
        let catalog = try ModelCatalog(
            named + (file?.models ?? []),
            budget: memoryMebibytes.map { $0 << 20 } ?? file?.budget,
            loadWait: loadWait.map { .seconds($0) } ?? file?.loadWait ?? ModelCatalog.defaultLoadWait,
            engineDefaults: defaults,
            locate: { try ModelArgument.path(of: $0) })
        for (name, route) in file?.routes ?? [] { try catalog.set(route, as: name) }
        if let base = source.map(baseName) {
            for alias in compatibility.names where alias != base { try catalog.set(ModelRoute(alias: base), as: alias) }
        }
        var configuration = ServerConfiguration()
        configuration.host = host ?? compatibility.host(settings)
        configuration.port = port ?? compatibility.httpPort ?? settings.port
        configuration.apiKey = compatibility.key(settings)
        configuration.drainDelay = .seconds(drainDelay)
        configuration.maximumWaitSeconds = maximumWait
        let adminKey = settings.value(.adminKey)
        configuration.adminKey = adminKey.isEmpty ? nil : adminKey
        configuration.configurationFile = config
        configuration.modelsBesidesFile = named.map(\.name)
        let names = catalog.names.joined(separator: ", ")
        let shownHost = configuration.host
        let server = MoruServer(configuration: configuration, catalog: catalog, logger: logger)
        try await server.run { port in
            Terminal.talk("serving \(names) at http://\(shownHost):\(port)/v1 (Ctrl-C stops)")
        }
    }

    /// How engines go about their work where the configuration file says nothing.
    private func engineConfiguration(_ logger: Logger) throws -> EngineConfiguration {
        var configuration = engine.configuration
        configuration.prefixDirectory = try prefixCache.map { path in
            try PrefixDirectory(path: path, maximumBytes: prefixCacheMebibytes << 20) { logger.warning("\($0)") }
        }
        configuration.changeMaximumSequences(to: parallel)
        configuration.cacheBytes = cacheMebibytes.map { $0 << 20 }
        configuration.maximumWaitSeconds = maximumWait
        configuration.maximumWaitingTokens = Self.maximumWaitingTokens
        compatibility.apply(to: &configuration)
        return configuration
    }

    /// The model that is named on the command line, and its adapters.
    private func specifications(_ engineConfiguration: EngineConfiguration) throws -> [ModelSpecification] {
        guard let source else { return [] }
        let baseName = baseName(source)
        let base = ModelSpecification(
            name: baseName, source: source, task: task, engine: engineConfiguration, draft: draft)
        return try [base]
            + (adapters.map(Self.parse) + compatibility.adapters()).map { name, directory in
                ModelSpecification(name: name, source: directory, base: baseName)
            }
    }

    private func baseName(_ source: String) -> String {
        name ?? compatibility.names.first ?? Self.servedName(source)
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

extension ModelSpecification.Task: ExpressibleByArgument {}
extension LogFormat: ExpressibleByArgument {}
