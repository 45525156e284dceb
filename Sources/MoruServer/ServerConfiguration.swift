import MoruBase

/// The address, keys and limits of a server.
public struct ServerConfiguration: Sendable {
    /// The address to listen on; loopback unless changed.
    public var host: String
    /// The port; 0 for any that is free.
    public var port: Int
    /// With a key, requests below `/v1` must carry `Authorization: Bearer KEY`.
    public var apiKey: String?
    /// The key required for changing what is served; nil for the API key. Without either, only requests from the
    /// server's own machine are accepted.
    public var adminKey: String?
    /// The file to which routes are saved on request.
    public var configurationFile: String?
    /// The models that are served besides those of that file each time, to which saved routes may lead too.
    public var modelsBesidesFile: [String] = []
    /// The maximum size of a request's body in bytes.
    public var maximumBodyBytes: Int
    /// The maximum duration of an answer, including its time in the queue; nil for no limit.
    public var requestTimeout: Duration?
    /// How long the server keeps serving after a signal to stop while it reports that it is not ready, so that load
    /// balancers can redirect traffic.
    public var drainDelay: Duration
    /// How long running requests may continue after that.
    public var shutdownGrace: Duration
    /// The maximum number of tokens of texts waiting to be embedded or classified; nil for no limit.
    public var maximumWaitingTokens: Int? = 1 << 20
    /// The maximum estimated wait of texts to be embedded or classified, in seconds; nil for no limit. A request that
    /// would wait longer is refused.
    public var maximumWaitSeconds: Double? = 60

    /// Makes a configuration.
    public init(
        host: String = "127.0.0.1", port: Int = 8080, apiKey: String? = nil, maximumBodyBytes: Int = 8 << 20,
        requestTimeout: Duration? = .seconds(600), drainDelay: Duration = .zero,
        shutdownGrace: Duration = .seconds(10)
    ) {
        self.host = host
        self.port = port
        self.apiKey = apiKey
        self.maximumBodyBytes = maximumBodyBytes
        self.requestTimeout = requestTimeout
        self.drainDelay = drainDelay
        self.shutdownGrace = shutdownGrace
    }

    /// Checks the settings.
    ///
    /// - Throws: ``MoruError/Code/serverConfiguration``, naming the setting.
    public func validate() throws(MoruError) {
        guard (0...65535).contains(port) else {
            throw MoruError(.serverConfiguration, "the port is \(port)", remedy: "use 1 to 65535, or 0 for any")
        }
        guard apiKey?.isEmpty != true else {
            throw MoruError(.serverConfiguration, "the API key is empty", remedy: "give a key, or none")
        }
        guard adminKey?.isEmpty != true else {
            throw MoruError(.serverConfiguration, "the administrator's key is empty", remedy: "give a key, or none")
        }
        guard maximumBodyBytes >= 1 else {
            throw MoruError(
                .serverConfiguration, "the most bytes of a body are \(maximumBodyBytes)", remedy: "use 1 or more")
        }
        guard drainDelay >= .zero else {
            throw MoruError(.serverConfiguration, "the drain delay is \(drainDelay)", remedy: "use 0 or more")
        }
        if let requestTimeout, requestTimeout <= .zero {
            throw MoruError(
                .serverConfiguration, "the request timeout is \(requestTimeout)", remedy: "use more than 0, or none")
        }
    }
}
