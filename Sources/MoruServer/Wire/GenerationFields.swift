import MoruBase

/// The fields that the endpoints which generate have in common.
///
/// `ignore_eos` is an extension, named as vLLM and llama.cpp name it; `cache_prompt` is llama.cpp's.
struct GenerationFields: Sendable, Hashable {
    /// The most choices of one request.
    static let maximumChoices = 128
    /// The most stop strings.
    static let maximumStops = 4
    /// The most alternatives at each token.
    static let maximumAlternatives = 20

    /// The name of the model; nil for the server's first, as vLLM and llama.cpp have it.
    var model: String?
    var sampling: SamplingFields
    /// How many answers to each prompt.
    var choiceCount: Int
    /// Strings that end an answer.
    var stop: [String]
    /// The form that an answer must have.
    var structure: StructureFields
    /// Whether the answer comes in pieces.
    var streams: Bool
    /// Whether a stream ends with what it cost.
    var includesUsage: Bool
    /// Whether the answer begins with what was asked.
    var echo: Bool
    /// Whether an answer goes on after the token that ends it.
    var ignoresEnd: Bool
    /// Whether a prompt may begin with what was computed for earlier requests.
    var reusesPrefixes: Bool
    /// Whose request it is, as `user` says; the engine is shared fairly between users.
    var client: String

    /// Reads the fields of a chat completion or a completion.
    init(_ request: inout RequestObject) throws(APIError) {
        model = try request.string("model")
        sampling = try SamplingFields(&request)
        choiceCount = try request.int("n", in: 1...Self.maximumChoices) ?? 1
        stop = try Self.stop(&request)
        structure = try StructureFields(&request)
        streams = try request.bool("stream") ?? false
        includesUsage = try Self.includesUsage(&request, streams: streams)
        echo = try request.bool("echo") ?? false
        ignoresEnd = try request.bool("ignore_eos") ?? false
        reusesPrefixes = try request.bool("cache_prompt") ?? true
        client = try Self.client(&request)
    }

    /// Reads the fields of a response, which is one answer and always says what it cost.
    init(response request: inout RequestObject) throws(APIError) {
        model = try request.string("model")
        sampling = try SamplingFields(&request)
        (choiceCount, includesUsage, echo) = (1, true, false)
        ignoresEnd = try request.bool("ignore_eos") ?? false
        reusesPrefixes = try request.bool("cache_prompt") ?? true
        stop = try Self.stop(&request)
        structure = try StructureFields(response: &request)
        streams = try request.bool("stream") ?? false
        client = try Self.client(&request)
        if let value = request.value("stream_options") {
            guard streams else { throw .wrongValue("stream_options", "is only allowed with 'stream': true") }
            var options = try RequestObject(value, path: "stream_options")
            try Self.refuseObfuscation(&options)
            try options.finish()
        }
    }

    /// Whose request it is. How the answer is booked or cached is taken too: nothing of it changes the answer.
    private static func client(_ request: inout RequestObject) throws(APIError) -> String {
        request.accept("metadata", "safety_identifier", "prompt_cache_key")
        try request.refuse("store", unless: [false], "answers are not stored; leave it out or send false")
        try request.refuse(
            "service_tier", unless: ["auto", "default"], "there is one service tier; leave it out or send 'auto'")
        return try request.string("user") ?? ""
    }

    private static func stop(_ request: inout RequestObject) throws(APIError) -> [String] {
        guard let value = request.value("stop") else { return [] }
        let strings: [JSON]
        switch value {
        case .string: strings = [value]
        case .array(let elements): strings = elements
        default: throw .wrongType("stop", expected: "a string or an array of strings", found: value)
        }
        guard strings.count <= maximumStops else {
            throw .wrongValue("stop", "has \(strings.count) strings, and may have \(maximumStops) at most")
        }
        var stops: [String] = []
        for (position, element) in strings.enumerated() {
            let name = strings == [value] ? "stop" : "stop[\(position)]"
            guard let string = element.string else { throw .wrongType(name, expected: "a string", found: element) }
            guard !string.isEmpty else { throw .wrongValue(name, "is empty, and would end every answer at once") }
            stops.append(string)
        }
        return stops
    }

    private static func includesUsage(_ request: inout RequestObject, streams: Bool) throws(APIError) -> Bool {
        guard let value = request.value("stream_options") else { return false }
        guard streams else {
            throw .wrongValue("stream_options", "is only allowed with 'stream': true")
        }
        var options = try RequestObject(value, path: "stream_options")
        let includesUsage = try options.bool("include_usage") ?? false
        try refuseObfuscation(&options)
        try options.finish()
        return includesUsage
    }

    private static func refuseObfuscation(_ options: inout RequestObject) throws(APIError) {
        try options.refuse("include_obfuscation", unless: [false], "chunks are not padded; leave it out or send false")
    }
}
