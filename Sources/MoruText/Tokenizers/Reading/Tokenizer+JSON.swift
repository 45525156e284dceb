import MoruBase

extension Tokenizer {
    /// Reads a `tokenizer.json` of the Hugging Face `tokenizers` library.
    ///
    /// - Throws: ``MoruError/Code/tokenizerMalformed``, ``MoruError/Code/tokenizerUnsupported`` naming the component,
    ///   or as `JSON.parse(file:)`.
    public init(file path: String) throws(MoruError) {
        try self.init(json: try JSON.parse(file: path), source: path)
    }

    /// Reads the content of a `tokenizer.json`.
    ///
    /// - Parameter source: What the content is, for error messages: its path.
    /// - Throws: As ``init(file:)``.
    public init(json: JSON, source: String) throws(MoruError) {
        let document = Section(json, path: "", source: source)
        _ = try document.object()
        let preTokenizers = try document.optional("pre_tokenizer").map(PreTokenizer.read) ?? []
        let readsBytes = TokenizerParts.endsInBytes(preTokenizers)
        let read = try ReadModel(document.required("model"), readsBytes: readsBytes)
        var parts = TokenizerParts(vocabulary: read.vocabulary, model: read.model)
        parts.unknown = read.unknown
        parts.preTokenizers = preTokenizers
        parts.normalizer = try document.optional("normalizer").map(Normalizer.init)
        try Self.checkGrowth(parts, document)
        if let decoder = document.optional("decoder") {
            parts.decoders = try TokenDecoder.read(decoder)
            try TokenDecoder.checkGrowth(parts.decoders, decoder)
        } else {
            parts.joinsWithSpaces = true
        }
        parts.pair = .plain
        if let section = document.optional("post_processor") {
            let processor = try PostProcessor(section)
            (parts.prefix, parts.suffix, parts.pair) = (processor.prefix, processor.suffix, processor.pair)
        }
        if let added = document.optional("added_tokens") {
            for element in try added.elements() {
                parts.addedTokens.append(try Self.addedToken(element, vocabulary: read.vocabulary))
            }
        }
        try Self.checkIDs(parts, source: source)
        self.init(parts)
    }

    /// Refuses steps that make texts too long.
    private static func checkGrowth(_ parts: TokenizerParts, _ document: Section) throws(MoruError) {
        var growth = TextGrowth()
        for step in parts.preTokenizers.reversed() { step.addGrowth(to: &growth) }
        if let section = document.optional("pre_tokenizer"), let error = growth.excess(section) { throw error }
        guard let normalizer = parts.normalizer, let section = document.optional("normalizer") else { return }
        try normalizer.addGrowth(to: &growth, section)
    }

    private static func addedToken(_ section: Section, vocabulary: Vocabulary) throws(MoruError) -> AddedToken {
        let content = Array(try section.required("content").string().utf8)
        let isSpecial = try section.bool("special", default: false)
        // A token the model knows keeps the model's id, whatever the list says.
        let known = content.withUnsafeBufferPointer { vocabulary.find($0) }
        let stated = try section.required("id").id()
        return AddedToken(
            id: known >= 0 ? known : Int32(stated), content: content, isSpecial: isSpecial,
            isSingleWord: try section.bool("single_word", default: false),
            stripsLeft: try section.bool("lstrip", default: false),
            stripsRight: try section.bool("rstrip", default: false),
            isNormalized: try section.bool("normalized", default: !isSpecial))
    }

    /// Refuses two added tokens of one id and ids around a text that nothing has.
    private static func checkIDs(_ parts: TokenizerParts, source: String) throws(MoruError) {
        var contents: [Int32: [UInt8]] = [:]
        for token in parts.addedTokens {
            let text = String(decoding: token.content, as: UTF8.self)
            if let other = contents[token.id], other != token.content {
                throw MoruError(
                    .tokenizerMalformed,
                    "\(source): added_tokens gives the id \(token.id) to \"\(text)\" and to "
                        + "\"\(String(decoding: other, as: UTF8.self))\"",
                    remedy: "each added token needs its own id")
            }
            contents[token.id] = token.content
            if parts.vocabulary.contains(id: Int(token.id)),
                !parts.vocabulary.bytes(of: Int(token.id)).elementsEqual(token.content)
            {
                throw MoruError(
                    .tokenizerMalformed,
                    "\(source): added_tokens gives \"\(text)\" the id \(token.id), which another token of the "
                        + "vocabulary has", remedy: "each added token needs its own id")
            }
        }
        for id in parts.prefix + parts.suffix + (parts.pair?.specials ?? [])
        where contents[id] == nil && !parts.vocabulary.contains(id: Int(id)) {
            throw MoruError(
                .tokenizerMalformed, "\(source): post_processor adds the id \(id), which no token has",
                remedy: "check that the file is whole")
        }
    }
}
