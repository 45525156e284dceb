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
            GET /health. Each adapter is a model of its own name on the same base. Set
            MORU_API_KEY to ask clients for a key.

            Examples:
              moru serve smollm2-135m-instruct
              moru serve smollm2-135m-instruct --adapter feedback=runs/feedback/adapter
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
    @Flag(help: "Log every request.")
    var verbose = false

    func validate() throws {
        for text in adapters { _ = try Self.parse(text) }
    }

    func run() async throws {
        let settings = try Settings.load()
        let pretrained = try model.load()
        let generator = try TextGenerator(pretrained, configuration: engine.configuration)
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
