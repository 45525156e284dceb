import MoruBase
import MoruEngine

/// What a model that is served comes from, and how it is served.
public struct ModelSpecification: Sendable, Hashable {
    /// What a model is to do.
    public enum Task: String, Sendable, Hashable, CaseIterable {
        /// Generate text.
        case generate
        /// Classify texts, or find things in them, with its head.
        case classify
        /// Make vectors of texts.
        case embed
    }

    /// The name that clients ask for. What follows an `@` is the version: `support@2`.
    public var name: String
    /// A name that the model store knows, a directory, or a .gguf file; of an adapter, its directory.
    public var source: String
    /// The name of the model that an adapter acts on; nil for what stands alone.
    public var base: String?
    /// What it is to do; nil for what its files say.
    public var task: Task?
    /// How its engine goes about the work, where it generates.
    public var engine: EngineConfiguration
    /// A small model with the same tokenizer that guesses tokens.
    public var draft: String?
    /// Whether it stays loaded whatever else wants memory.
    public var isPinned: Bool
    /// Whether it is loaded before the server listens, rather than when it is first asked for.
    public var loadsAtStart: Bool

    /// Makes a specification.
    public init(
        name: String, source: String, base: String? = nil, task: Task? = nil, engine: EngineConfiguration = .init(),
        draft: String? = nil, isPinned: Bool = false, loadsAtStart: Bool = true
    ) {
        (self.name, self.source, self.base, self.task) = (name, source, base, task)
        (self.engine, self.draft) = (engine, draft)
        (self.isPinned, self.loadsAtStart) = (isPinned, loadsAtStart)
    }

    /// The part of a name after its last `@`; nil where there is none.
    static func version(of name: String) -> String? {
        name.lastIndex(of: "@").map { String(name[name.index(after: $0)...]) }
    }

    /// What keeps a text from being the name of a model or a route, if anything: names stand in requests, headers,
    /// logs and labels of metrics.
    static func problem(ofName name: String) -> String? {
        if name.isEmpty { return "is empty" }
        if name.utf8.count > 256 { return "has \(name.utf8.count) bytes, more than 256" }
        if name.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) {
            return "has a control character: '\(name.printable())'"
        }
        if name.first?.isWhitespace == true || name.last?.isWhitespace == true {
            return "begins or ends with a space: '\(name)'"
        }
        if name.hasPrefix("@") || name.hasSuffix("@") { return "has nothing before or after its @: '\(name)'" }
        return nil
    }

    /// Checks what can be said without opening anything.
    ///
    /// - Throws: ``MoruError/Code/serverConfiguration``.
    func validate() throws(MoruError) {
        if let problem = Self.problem(ofName: name) {
            throw MoruError(.serverConfiguration, "a model's name \(problem)", remedy: "give it another name")
        }
        guard base != name else {
            throw MoruError(
                .serverConfiguration, "the adapter '\(name)' acts on itself", remedy: "name the model that it acts on")
        }
        if base != nil, draft != nil {
            throw MoruError(
                .serverConfiguration, "the adapter '\(name)' has a draft model", remedy: "give it to its base")
        }
    }
}
