import MoruBase

extension Tokenizer {
    /// The tokenizer as the `tokenizer.ggml.*` metadata of a GGUF file, which llama.cpp reads.
    ///
    /// Byte-level and SentencePiece BPE can be said in it. What was written is read back and compared over awkward
    /// texts, so that no file is made whose tokens differ.
    ///
    /// - Parameters:
    ///   - rows: Rows of the model's embedding; ids without a piece become unused ones.
    ///   - endIDs: Ids that end a generation, where the tokenizer itself names none.
    ///   - source: Where the tokenizer came from, for error messages.
    /// - Throws: ``MoruError/Code/tokenizerUnsupported``, naming the part that GGUF has no word for.
    public func ggufMetadata(
        rows: Int, endIDs: [Int32] = [], source: String
    ) throws(MoruError) -> [(key: String, value: MetadataValue)] {
        let writer = GGUFTokenizerWriter(tokenizer: self, rows: rows, source: source)
        let fields = try writer.fields(endIDs: endIDs).map { (key: "tokenizer.ggml.\($0)", value: $1) }
        let again = try Tokenizer(
            metadata: Metadata(fields.map { ($0.key, $0.value) }) { first, _ in first }, source: source)
        for text in Self.awkwardTexts where again.encode(text) != encode(text) {
            throw writer.unsupported("cuts \"\(text.prefix(40))\" into other tokens than GGUF's words for it would")
        }
        return fields
    }

    /// Texts over which tokenizers that look alike differ.
    private static let awkwardTexts = [
        "Hello, world! It's 12345.67 o'clock; don't WE'LL say.", "  two  spaces\n\n\tand tabs \r\n  end  ",
        "한국어 텍스트, 日本語のテキスト 🙂👍🏽 ελληνικά", "cafe\u{301} na\u{EF}ve \u{FB01}n \u{1E9B}\u{323}",
        "x=3.14*10**-7; // a_b+c [1,2]",
        "ﬁ ½ ² ① ", "A\u{200B}B\u{A0}C", "1 22 333 4444 55555", "don’t “quote” – dash…", "\u{0}\u{1}\u{7F}",
    ]
}

/// Says a tokenizer in GGUF's words.
private struct GGUFTokenizerWriter {
    /// What `tokenizer.ggml.token_type` says of a token.
    private enum Kind { static let normal = 1, unknown = 2, control = 3, userDefined = 4, unused = 5, byte = 6 }

    let tokenizer: Tokenizer
    let rows: Int
    let source: String
    private var parts: TokenizerParts { tokenizer.core.parts }

    init(tokenizer: Tokenizer, rows: Int, source: String) {
        (self.tokenizer, self.rows, self.source) = (tokenizer, rows, source)
    }

    func unsupported(_ what: String) -> MoruError {
        MoruError(
            .tokenizerUnsupported, "\(source): the tokenizer \(what), which llama.cpp cannot represent",
            remedy: "export the model as safetensors, which keeps its tokenizer.json")
    }

    func fields(endIDs: [Int32]) throws(MoruError) -> [(String, MetadataValue)] {
        guard case .bpe(let model) = parts.model else { throw unsupported("is not a byte-pair model") }
        guard model.continuingPrefix.isEmpty, model.endSuffix.isEmpty else {
            throw unsupported("marks the inside or the end of words")
        }
        let isByteLevel = model.byteIDs != nil
        guard isByteLevel || model.fallbackIDs != nil else {
            throw unsupported("is a byte-pair model of characters without bytes to fall back to")
        }
        let types = types(isByteLevel: isByteLevel)
        var fields = try isByteLevel ? byteLevel(model) : sentencePiece(model, types)
        fields.append(("tokens", .strings((0..<rows).map { piece($0) ?? "[PAD\($0)]" })))
        fields.append(("token_type", .ints(types)))
        fields += try roles(endIDs)
        return fields
    }

    private func piece(_ id: Int) -> String? {
        parts.piece(Int32(id)).map { String(decoding: $0, as: UTF8.self) }
    }

    private func types(isByteLevel: Bool) -> [Int] {
        (0..<rows).map { id in
            if let added = parts.addedByID[Int32(id)] {
                if Int32(id) == tokenizer.unknown, !isByteLevel { return Kind.unknown }
                return added.isSpecial ? Kind.control : Kind.userDefined
            }
            guard parts.vocabulary.contains(id: id) else { return Kind.unused }
            if !isByteLevel, Int32(id) == tokenizer.unknown { return Kind.unknown }
            if case .bpe(let model) = parts.model, model.fallbackIDs?.contains(Int32(id)) == true { return Kind.byte }
            return Kind.normal
        }
    }

    /// The ids of special roles, and which of them go around a text.
    private func roles(_ endIDs: [Int32]) throws(MoruError) -> [(String, MetadataValue)] {
        let ends = ([tokenizer.endOfSequence].compactMap { $0 } + endIDs)
        let begin = tokenizer.beginOfSequence ?? parts.prefix.first
        let end = ends.first ?? parts.suffix.first
        guard parts.prefix.isEmpty || parts.prefix == begin.map({ [$0] }) else {
            throw unsupported("puts more before a text than the token that begins a sequence")
        }
        guard parts.suffix.isEmpty || parts.suffix == end.map({ [$0] }) else {
            throw unsupported("puts more after a text than the token that ends a sequence")
        }
        var fields: [(String, MetadataValue)] = []
        for (key, id) in [
            ("bos", begin), ("eos", end), ("unknown", tokenizer.unknown), ("padding", tokenizer.padding),
            ("eot", ends.first { $0 != end }),
        ] {
            if let id { fields.append(("\(key)_token_id", .int(Int(id)))) }
        }
        fields.append(("add_bos_token", .bool(!parts.prefix.isEmpty)))
        fields.append(("add_eos_token", .bool(!parts.suffix.isEmpty)))
        return fields
    }

    private func byteLevel(_ model: BPEModel) throws(MoruError) -> [(String, MetadataValue)] {
        for case .byteLevel(true, _) in parts.preTokenizers { throw unsupported("puts a space before every text") }
        let merges = TokenizerExporter(source: source).merges(model).map { pair in
            String(decoding: pair.left, as: UTF8.self) + " " + String(decoding: pair.right, as: UTF8.self)
        }
        // Where nothing merges, no cut makes a difference
        let isIndifferent = merges.isEmpty && parts.normalizer == nil
        guard
            let pre = try isIndifferent
                ? "gpt-2" : Tokenizer.ggufPreTokenizer(of: parts, ignoresMerges: model.wholeWords != nil)
        else { throw unsupported("splits text in a way that GGUF has no name for") }
        return [("model", .string("gpt2")), ("pre", .string(pre)), ("merges", .strings(merges))]
    }

    // MARK: SentencePiece

    private func sentencePiece(_ model: BPEModel, _ types: [Int]) throws(MoruError) -> [(String, MetadataValue)] {
        let addsSpace = try addsSpace()
        return [
            ("model", .string("llama")), ("pre", .string("default")), ("scores", .doubles(try scores(model, types))),
            ("add_space_prefix", .bool(addsSpace)),
        ]
    }

    /// Whether a space goes before a text, where nothing else is done than to write spaces as `▁`.
    private func addsSpace() throws(MoruError) -> Bool {
        let mark = Array("▁".utf8)
        var addsSpace = false
        var replaces = false
        var steps: [Normalizer] = []
        switch parts.normalizer {
        case .sequence(let several): steps = several
        case let one?: steps = [one]
        case nil: break
        }
        for step in steps {
            switch step {
            case .prepend(mark): addsSpace = true
            case .replace(.literal([0x20]), mark): replaces = true
            default: throw unsupported("rewrites text before it is cut")
            }
        }
        for step in parts.preTokenizers {
            switch step {
            case .metaspace(mark, let scheme, splits: false):
                (addsSpace, replaces) = (scheme != .never, true)
            // After spaces are written as marks there is nothing to cut
            case .split(.literal([0x20]), _, _) where replaces: break
            default: throw unsupported("cuts text in a way that SentencePiece does not")
            }
        }
        guard replaces else { throw unsupported("does not write spaces as ▁") }
        return addsSpace
    }

    /// A score for each piece such that merging by it, as SentencePiece does, is merging by rank.
    private func scores(_ model: BPEModel, _ types: [Int]) throws(MoruError) -> [Double] {
        let vocabulary = model.vocabulary
        var ranks: [(id: Int, first: UInt64, last: UInt64)] = []
        func isMergeable(_ id: Int32) -> Bool {
            id >= 0 && Int(id) < rows && (types[Int(id)] == Kind.normal || types[Int(id)] == Kind.userDefined)
        }
        for id in 0..<min(rows, vocabulary.size) where isMergeable(Int32(id)) {
            let piece = Array(vocabulary.bytes(of: id))
            var (first, last): (UInt64, UInt64) = (.max, 0)
            for cut in 1..<max(1, piece.count) where piece[cut] & 0xC0 != 0x80 {
                let left = piece[..<cut].withUnsafeBufferPointer { vocabulary.find($0) }
                let right = piece[cut...].withUnsafeBufferPointer { vocabulary.find($0) }
                guard isMergeable(left), isMergeable(right) else { continue }
                let merge = model.merges.find(UInt32(left), UInt32(right))
                guard merge != PairMap.missing, merge & 0xFFFF_FFFF == UInt64(id) else {
                    throw unsupported("does not merge every pair of pieces into a piece")
                }
                (first, last) = (min(first, merge >> 32), max(last, merge >> 32))
            }
            if first != .max { ranks.append((id, first, last)) }
        }
        ranks.sort { ($0.first, $0.last) < ($1.first, $1.last) }
        var scores = [Double](repeating: 0, count: rows)
        var (order, end): (Int, UInt64?) = (0, nil)
        for (id, first, last) in ranks {
            if let end, first < end || (first == end && last != end) {
                throw unsupported("merges pairs in an order that no score of the pieces gives")
            }
            if end != first || last != first { order += 1 }
            end = last
            scores[id] = -Double(order)
        }
        return scores
    }
}
