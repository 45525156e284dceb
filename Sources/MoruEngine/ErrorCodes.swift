import MoruBase

extension MoruError.Code {
    /// A setting of a generation that is out of range.
    public static let samplingInvalid = MoruError.Code("engine.sampling-invalid", .invalidInput)
    /// A request that the model cannot take: no tokens, or ids outside the vocabulary.
    public static let requestInvalid = MoruError.Code("engine.request-invalid", .invalidInput)
    /// A prompt that leaves no room in the model's context.
    public static let promptTooLong = MoruError.Code("engine.prompt-too-long", .invalidInput)
    /// Logits that are not finite numbers.
    public static let logitsNotFinite = MoruError.Code("engine.logits-not-finite", .invalidInput)
    /// A setting of the engine itself that is out of range.
    public static let engineConfiguration = MoruError.Code("engine.configuration", .invalidInput)
    /// A grammar that wants characters which no token of the model has.
    public static let grammarDeadEnd = MoruError.Code("engine.grammar-dead-end", .invalidInput)
    /// A request to an engine that has been shut down.
    public static let engineShutDown = MoruError.Code("engine.shut-down", .conflict)
    /// A request that would have to wait for too long; its cause is an ``EngineOverload``.
    public static let engineOverloaded = MoruError.Code("engine.overloaded", .limit)
    /// A folder for pages of keys and values that another process uses.
    public static let prefixDirectoryBusy = MoruError.Code("engine.prefix-directory-busy", .conflict)
    /// A second message to a chat that is still answering the first.
    public static let sessionBusy = MoruError.Code("session.busy", .conflict)
    /// A saved conversation that cannot be read.
    public static let historyMalformed = MoruError.Code("session.history-malformed", .invalidInput)
}
