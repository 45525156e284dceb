import MoruBase

/// Where and within which limits a server serves.
public struct ServerConfiguration: Sendable {
    /// The address to listen on; loopback unless changed.
    public var host: String
    /// The port; 0 for any that is free.
    public var port: Int
    /// With a key, requests below `/v1` must carry `Authorization: Bearer KEY`.
    public var apiKey: String?
    /// The key that changing what is served asks for; without it the API key, and without both only the machine itself
    /// may.
    public var adminKey: String?
    /// The file that routes are saved to when that is asked for.
    public var configurationFile: String?
    /// The most bytes of a request's body.
    public var maximumBodyBytes: Int
    /// The longest that a request may take, waiting included; nil for no limit.
    public var requestTimeout: Duration?
    /// How long the server goes on after a signal to stop, saying that it is not ready, so that load balancers can send
    /// requests elsewhere.
    public var drainDelay: Duration
    /// How long requests at work may go on after that.
    public var shutdownGrace: Duration
    /// The most tokens of texts to embed or classify that may wait; nil for no bound.
    public var maximumWaitingTokens: Int? = 1 << 20
    /// The longest that texts to embed or classify may likely wait, in seconds; nil for no bound. A request that would
    /// wait longer is refused.
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
