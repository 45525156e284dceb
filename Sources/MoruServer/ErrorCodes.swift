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
    /// A server that does not answer.
    public static let serverUnreachable = MoruError.Code("server.unreachable", .io)
    /// A name that no model has.
    public static let modelUnknown = MoruError.Code("model.unknown", .notFound)
    /// A name that another model or route has.
    public static let modelNameTaken = MoruError.Code("model.name-taken", .conflict)
    /// A model whose files cannot be opened.
    public static let modelLoadFailed = MoruError.Code("model.load-failed", .io)
    /// A model that is still being loaded when a request has waited for as long as it may.
    public static let modelLoading = MoruError.Code("model.loading", .limit)
    /// A model that needs more memory than there is, whatever else is unloaded.
    public static let modelTooLarge = MoruError.Code("model.too-large", .limit)
    /// A model that needs memory which models in use have.
    public static let memoryInUse = MoruError.Code("model.memory-in-use", .limit)
    /// A model with which something else is being done, or that others depend on.
    public static let modelBusy = MoruError.Code("model.busy", .conflict)
    /// A route that leads nowhere, to itself or to another route.
    public static let routeInvalid = MoruError.Code("model.route-invalid", .invalidInput)
}
