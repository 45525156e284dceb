import MoruBase
import MoruEngine

/// The fields that say how a model is served, in a request to the server as in its configuration file.
enum SpecificationFields {
    /// Reads what there is into a specification.
    ///
    /// - Throws: ``APIError`` that names the field.
    static func read(_ fields: inout RequestObject, into specification: inout ModelSpecification) throws(APIError) {
        if let source = try fields.string("source") { specification.source = source }
        if let draft = try fields.string("draft") { specification.draft = draft }
        if let task: ModelSpecification.Task = try fields.choice("task") { specification.task = task }
        if let isPinned = try fields.bool("pinned") { specification.isPinned = isPinned }
        if let loadsAtStart = try fields.bool("preload") { specification.loadsAtStart = loadsAtStart }
        try read(&fields, into: &specification.engine)
    }

    private static func read(
        _ fields: inout RequestObject, into engine: inout EngineConfiguration
    ) throws(APIError) {
        if let parallel = try fields.int("parallel", in: 1...1 << 16) {
            engine.changeMaximumSequences(to: parallel)
        }
        if let mebibytes = try fields.int("kv_memory", in: 1...1 << 30) { engine.cacheBytes = mebibytes << 20 }
        if let format: CacheFormat = try fields.choice("kv_cache") { engine.cacheFormat = format }
        if let speculation: Speculation = try fields.choice("speculation") { engine.speculation = speculation }
        if let length = try fields.int("context_length", in: 2...1 << 30) { engine.contextLength = length }
        if let seconds = try fields.number("max_wait", in: 0...1e9) { engine.maximumWaitSeconds = Double(seconds) }
    }

    /// A route: `models` with the weight of each, and `sticky`.
    static func route(_ fields: inout RequestObject) throws(APIError) -> ModelRoute {
        let value = try fields.required("models")
        guard let members = value.object else {
            throw .wrongType(fields.name(of: "models"), expected: "an object of models and weights", found: value)
        }
        var shares: [ModelRoute.Share] = []
        for (model, weight) in members.members {
            guard let number = weight.double else {
                throw .wrongType("\(fields.name(of: "models")).\(model)", expected: "a number", found: weight)
            }
            shares.append(ModelRoute.Share(model, weight: number))
        }
        return ModelRoute(shares, isSticky: try fields.bool("sticky") ?? false)
    }
}

extension RequestObject {
    /// One of a few words.
    fileprivate mutating func choice<Choice>(_ key: String) throws(APIError) -> Choice?
    where Choice: RawRepresentable<String> & CaseIterable {
        guard let text = try string(key) else { return nil }
        if let choice = Choice(rawValue: text) { return choice }
        let words = Choice.allCases.map(\.rawValue)
        let nearest = nearestName(to: text, among: words).map { "; did you mean '\($0)'?" } ?? ""
        throw .wrongValue(name(of: key), "is '\(text)', and must be one of \(words.joined(separator: ", "))\(nearest)")
    }
}
