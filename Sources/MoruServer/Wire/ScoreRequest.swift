import MoruBase

/// The body of `POST /score`, as vLLM has it.
struct ScoreRequest: Sendable {
    var model: ModelChoice
    var pairs: TextPairs

    /// Reads the body.
    init(_ json: JSON) throws(APIError) {
        var request = try RequestObject(json)
        model = try ModelChoice(&request)
        let first = try TextInputs(strings: try request.required("text_1"), field: "text_1")
        let second = try TextInputs(strings: try request.required("text_2"), field: "text_2")
        guard first.inputs.count == 1 || first.inputs.count == second.inputs.count else {
            throw .wrongValue(
                "text_1",
                "has \(first.inputs.count) texts and 'text_2' \(second.inputs.count); give one text, or as many")
        }
        pairs = TextPairs(first: first, second: second)
        pairs.cutTokens = try TextInputs.cutTokens(&request)
        try request.finish()
    }
}

/// The body of `POST /rerank`, as Jina, Cohere and vLLM have it.
struct RerankRequest: Sendable {
    var model: ModelChoice
    var pairs: TextPairs
    /// How many of the best documents are given; nil for all.
    var count: Int?
    /// Whether the answer repeats the documents.
    var returnsDocuments: Bool

    /// Reads the body.
    ///
    /// - Parameter returnsDocuments: What holds where the request does not say.
    init(_ json: JSON, returnsDocuments: Bool) throws(APIError) {
        var request = try RequestObject(json)
        model = try ModelChoice(&request)
        guard let query = try request.string("query") else { throw .missing("query") }
        let documents = try Self.documents(try request.required("documents"))
        pairs = TextPairs(first: TextInputs([.text(query)], names: ["query"]), second: documents)
        pairs.cutTokens = try TextInputs.cutTokens(&request)
        // vLLM takes 0 for all
        count = try request.int("top_n", in: 0...Int.max).flatMap { $0 == 0 ? nil : $0 }
        self.returnsDocuments = try request.bool("return_documents") ?? returnsDocuments
        let cutting = "documents are not cut by themselves; use 'truncate_prompt_tokens', which cuts the longer text"
        try request.refuse("max_tokens_per_doc", cutting)
        try request.refuse("max_chunks_per_doc", cutting)
        try request.refuse("rank_fields", unless: [["text"]], "documents have one field, 'text'")
        try request.finish()
    }

    /// `documents`: an array of strings, or of objects with a `text`.
    private static func documents(_ value: JSON) throws(APIError) -> TextInputs {
        guard let elements = value.array else {
            throw .wrongType("documents", expected: "an array of strings", found: value)
        }
        guard !elements.isEmpty else { throw .wrongValue("documents", "is empty") }
        var texts: [TextInput] = []
        for (index, element) in elements.enumerated() {
            let name = "documents[\(index)]"
            if let text = element.string {
                texts.append(.text(text))
                continue
            }
            guard element.object != nil else { throw .wrongType(name, expected: "a string", found: element) }
            var object = try RequestObject(element, path: name)
            guard let text = try object.string("text") else { throw .missing("\(name).text") }
            try object.finish()
            texts.append(.text(text))
        }
        return TextInputs(texts, in: "documents")
    }
}

extension TextInputs {
    /// A field that is a string or an array of strings.
    fileprivate init(strings value: JSON, field: String) throws(APIError) {
        if let text = value.string {
            self.init([.text(text)], names: [field])
            return
        }
        guard let elements = value.array else {
            throw .wrongType(field, expected: "a string or an array of strings", found: value)
        }
        guard !elements.isEmpty else { throw .wrongValue(field, "is empty") }
        var texts: [TextInput] = []
        for (index, element) in elements.enumerated() {
            guard let text = element.string else {
                throw .wrongType("\(field)[\(index)]", expected: "a string", found: element)
            }
            texts.append(.text(text))
        }
        self.init(texts, in: field)
    }
}
