import MoruBase

extension MoruError.Code {
    /// Another process listens where the server should.
    public static let portInUse = MoruError.Code("server.port-in-use", .conflict)
    /// An address that the server cannot listen on.
    public static let addressUnusable = MoruError.Code("server.address-unusable", .invalidInput)
    /// A setting of the server that is out of range, or no model to serve.
    public static let serverConfiguration = MoruError.Code("server.configuration", .invalidInput)
    /// A request that took longer than the server allows.
    public static let requestTimeout = MoruError.Code("server.request-timeout", .limit)
    /// A request that was not done when the server had to stop.
    public static let serverStopping = MoruError.Code("server.stopping", .conflict)
    /// A model's output for a text that holds numbers which are not finite.
    public static let labelsNotFinite = MoruError.Code("server.labels-not-finite", .internal)
}
