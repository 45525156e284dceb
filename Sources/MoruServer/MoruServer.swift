import Foundation
import Hummingbird
import Logging
import MoruBase
import NIOCore
import ServiceLifecycle

/// Serves models over HTTP with the OpenAI API.
///
///     let server = MoruServer(models: [ServedModel(name: "smollm2", generator: generator)])
///     try await server.run { port in print("listening on port \(port)") }
///
/// | endpoint | |
/// |---|---|
/// | `GET /health` | liveness, and the names of the models |
/// | `GET /metrics` | metrics for Prometheus |
/// | `GET /v1/models`, `GET /v1/models/{id}` | the models |
/// | `POST /v1/chat/completions` | continues a conversation |
/// | `POST /v1/completions` | continues or scores prompts, or fills a gap |
/// | `POST /v1/responses` | continues a conversation; nothing is stored |
/// | `POST /v1/embeddings` | computes embeddings of texts |
/// | `POST /v1/moderations` | flags texts with a classifier |
/// | `POST /classify` | classifies texts |
/// | `POST /score`, `POST /v1/score` | scores pairs of texts |
/// | `POST /rerank`, `POST /v1/rerank`, `POST /v2/rerank` | ranks documents by relevance to a query |
/// | `POST /tokenize`, `POST /detokenize`, `GET /tokenizer_info` | access to the tokenizer, as in vLLM |
/// | `GET /v2`, `GET /v2/health/live`, `GET /v2/health/ready` | the server, in the Open Inference Protocol |
/// | `GET /v2/models`, `GET /v2/models/{name}[/ready]` | the inputs and outputs of models |
/// | `POST /v2/models/{name}/infer` | generates, classifies or embeds tensors of texts |
/// | `POST /v2/models/{name}/generate`, `.../generate_stream` | continues a text, as in Triton |
/// | `POST /v2/repository/index`, `.../models/{name}/load`, `.../unload` | loads and unloads models, as in Triton |
/// | `GET /admin/models`, `POST /admin/models/{load,unload,swap}` | changes what is served |
/// | `GET /admin/routes`, `PUT` and `DELETE /admin/routes/{name}`, `POST /admin/save` | aliases and weighted routes |
/// | `POST /v1/load_lora_adapter`, `POST /v1/unload_lora_adapter` | adapters, as in vLLM |
public struct MoruServer: Sendable {
    private let configuration: ServerConfiguration
    private let catalog: @Sendable () throws -> ModelCatalog
    private let logger: Logger

    /// Makes a server for the models of a catalog.
    public init(
        configuration: ServerConfiguration = ServerConfiguration(), catalog: ModelCatalog,
        logger: Logger = Logger(label: "moru.server")
    ) {
        (self.configuration, self.catalog, self.logger) = (configuration, { catalog }, logger)
    }

    /// Makes a server for models that are already loaded.
    public init(
        configuration: ServerConfiguration = ServerConfiguration(), models: [ServedModel],
        logger: Logger = Logger(label: "moru.server")
    ) {
        (self.configuration, self.logger) = (configuration, logger)
        catalog = { try ModelCatalog(loaded: models) }
    }

    /// Serves until SIGINT, SIGTERM or cancellation. After a signal, the server keeps serving for
    /// ``ServerConfiguration/drainDelay`` while it reports that it is not ready; then running requests have
    /// ``ServerConfiguration/shutdownGrace`` to finish.
    ///
    /// - Parameter onReady: Called with the port once the server listens.
    /// - Throws: ``MoruError/Code/serverConfiguration``, ``MoruError/Code/portInUse``,
    ///   ``MoruError/Code/addressUnusable``, or why a model cannot be loaded at start-up.
    public func run(onReady: @escaping @Sendable (_ port: Int) -> Void = { _ in }) async throws {
        try configuration.validate()
        let (catalog, readiness) = (try catalog(), ServerReadiness())
        try await catalog.prepare()
        var application = Application(
            router: router(for: catalog, readiness),
            server: .http1(
                configuration: .init(
                    additionalChannelHandlers: [ConnectionMonitorHandler(), ExpectContinueInstaller()],
                    idleTimeout: .seconds(60))),
            configuration: .init(address: .hostname(configuration.host, port: configuration.port)),
            onServerRunning: { [port = configuration.port] channel in onReady(channel.localAddress?.port ?? port) },
            logger: logger)
        // The framework's own messages are for debugging it.
        application.logger.logLevel = max(logger.logLevel, .info)
        var group = ServiceGroupConfiguration(
            services: [application, DrainService(readiness: readiness, delay: configuration.drainDelay)],
            gracefulShutdownSignals: [.sigint, .sigterm], logger: logger)
        // Requests end themselves when the grace period is over; remaining connections are closed a little later.
        group.maximumGracefulShutdownDuration = configuration.drainDelay + configuration.shutdownGrace + .seconds(2)
        let ended: Result<Void, any Error>
        do {
            ended = .success(try await ServiceGroup(configuration: group).run())
        } catch {
            ended = .failure(startFailure(error))
        }
        for (_, engine) in catalog.engines { await engine.savePrefixes() }
        return try ended.get()
    }

    private func router(for catalog: ModelCatalog, _ readiness: ServerReadiness) -> Router<ServerContext> {
        let router = Router(context: ServerContext.self, options: .autoGenerateHeadEndpoints)
        let meter = RequestMeter()
        router.add(middleware: RequestLogMiddleware(meter: meter))
        router.add(middleware: ModelHeaderMiddleware())
        router.add(middleware: ErrorMiddleware())
        if let key = configuration.apiKey { router.add(middleware: APIKeyMiddleware(key: key)) }
        router.add(middleware: ExpectContinueMiddleware())
        let models = ModelEndpoints(catalog: catalog)
        let completions = CompletionEndpoints(catalog: catalog, configuration: configuration)
        router.route(.get, "/health", models.health)
        router.route(.get, "/metrics", MetricsEndpoint(catalog: catalog, meter: meter).metrics)
        router.route(.get, "/v1/models", models.all)
        router.route(.get, "/v1/models/**", models.one)
        router.route(.post, "/v1/chat/completions", completions.chat)
        router.route(.post, "/v1/completions", completions.completion)
        router.route(.post, "/v1/responses", completions.response)
        let labelling = Labelling(configuration)
        let labels = LabellingEndpoints(catalog: catalog, configuration: configuration, labelling: labelling)
        router.route(.post, "/v1/embeddings", labels.embeddings)
        router.route(.post, "/v1/moderations", labels.moderations)
        router.route(.post, "/classify", labels.classify)
        let ranking = RankingEndpoints(catalog: catalog, configuration: configuration, labelling: labelling)
        router.route(.post, "/score", ranking.score)
        router.route(.post, "/v1/score", ranking.score)
        router.route(.post, "/rerank", ranking.rerank)
        router.route(.post, "/v1/rerank", ranking.rerank)
        router.route(.post, "/v2/rerank", ranking.rerankV2)
        let tokenizers = TokenizerEndpoints(catalog: catalog, configuration: configuration)
        router.route(.post, "/tokenize", tokenizers.tokenize)
        router.route(.post, "/detokenize", tokenizers.detokenize)
        router.route(.get, "/tokenizer_info", tokenizers.info)
        let inference = OpenInferenceEndpoints(
            catalog: catalog, configuration: configuration, readiness: readiness, labelling: labelling)
        router.route(.get, "/v2", inference.server)
        router.route(.get, "/v2/health/live", inference.live)
        router.route(.get, "/v2/health/ready", inference.ready)
        router.route(.get, "/v2/models", inference.models)
        for method in [HTTPRequest.Method.get, .post, .put, .patch, .delete, .options] {
            router.on("/v2/models/**", method: method, use: inference.model)
        }
        let access = AdminAccess(configuration)
        let admin = AdminEndpoints(catalog: catalog, configuration: configuration)
        let repository = RepositoryEndpoints(catalog: catalog, configuration: configuration)
        router.route(.post, "/v2/repository/index", repository.index)
        router.route(.post, "/v2/repository/models/**", access.guarding(repository.model))
        router.route(.get, "/admin/models", access.guarding(admin.models))
        router.route(.post, "/admin/models/load", access.guarding(admin.load))
        router.route(.post, "/admin/models/unload", access.guarding(admin.unload))
        router.route(.post, "/admin/models/swap", access.guarding(admin.swap))
        router.route(.get, "/admin/routes", access.guarding(admin.routes))
        router.on("/admin/routes/**", method: .put, use: access.guarding(admin.setRoute))
        router.on("/admin/routes/**", method: .delete, use: access.guarding(admin.removeRoute))
        router.route(.post, "/admin/save", access.guarding(admin.save))
        router.route(.post, "/v1/load_lora_adapter", access.guarding(admin.loadAdapter))
        router.route(.post, "/v1/unload_lora_adapter", access.guarding(admin.unloadAdapter))
        return router
    }

    private func startFailure(_ error: any Error) -> any Error {
        let address = "\(configuration.host):\(configuration.port)"
        guard let error = error as? IOError else {
            if error is SocketAddressError || error is SocketAddressError.UnknownHost {
                return MoruError(
                    .addressUnusable, "'\(configuration.host)' is not an address of this machine",
                    remedy: "choose another with --host, such as 127.0.0.1", cause: error)
            }
            return error
        }
        switch error.errnoCode {
        case EADDRINUSE:
            return MoruError(
                .portInUse, "port \(configuration.port) is in use: something else listens on \(address)",
                remedy: "choose another with --port, or 0 for any that is free")
        case EACCES:
            return MoruError(
                .addressUnusable, "listening on \(address) is not permitted",
                remedy: "choose a port above 1023 with --port", cause: error)
        case EADDRNOTAVAIL:
            return MoruError(
                .addressUnusable, "'\(configuration.host)' is not an address of this machine",
                remedy: "choose another with --host, such as 127.0.0.1", cause: error)
        default: return error
        }
    }
}

extension Router<ServerContext> {
    /// Adds a handler for one method of a path, and refuses the others.
    fileprivate func route(
        _ method: HTTPRequest.Method, _ path: RouterPath,
        _ handler: @escaping @Sendable (Request, ServerContext) async throws -> Response
    ) {
        on(path, method: method, use: handler)
        let isRead = method == .get
        let others: [HTTPRequest.Method] = [.get, .head, .post, .put, .patch, .delete, .options]
        for other in others where other != method && !(isRead && other == .head) {
            on(path, method: other) { request, _ -> Response in
                let allowed = isRead ? "GET, HEAD" : method.rawValue
                throw APIError.methodNotAllowed(request.method, request.uri.path, allowed: allowed)
            }
        }
    }
}
