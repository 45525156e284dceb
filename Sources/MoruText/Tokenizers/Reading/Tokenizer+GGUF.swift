import MoruBase

extension Tokenizer {
    /// Reads the `tokenizer.ggml.*` metadata of a GGUF file.
    ///
    /// The models are `gpt2` (byte-level BPE, cut as `tokenizer.ggml.pre` says), `llama` (SentencePiece BPE by
    /// score), `t5` (Unigram) and `bert` (WordPiece).
    ///
    /// - Parameter source: What the metadata is of, for error messages: the file's path.
    /// - Throws: ``MoruError/Code/tokenizerMalformed`` or ``MoruError/Code/tokenizerUnsupported``, naming the key.
    public init(metadata: Metadata, source: String) throws(MoruError) {
        let reader = try GGUFTokenizerReader(metadata: metadata, source: source)
        self.init(try reader.read())
    }
}

/// Puts a tokenizer together from GGUF metadata.
private struct GGUFTokenizerReader {
    /// What `tokenizer.ggml.token_type` says of a token.
    private enum Kind { static let normal = 1, unknown = 2, control = 3, userDefined = 4, unused = 5, byte = 6 }

    private let metadata: Metadata
    private let source: String
    private let tokens: [String]
    private let types: [Int]

    init(metadata: Metadata, source: String) throws(MoruError) {
        self.metadata = metadata
        self.source = source
        guard let tokens = metadata["tokenizer.ggml.tokens"]?.strings, !tokens.isEmpty else {
            throw Self.malformed(source, "tokens", "is missing or not a list of strings")
        }
        self.tokens = tokens
        if let value = metadata["tokenizer.ggml.token_type"] {
            guard let types = value.ints, types.count == tokens.count else {
                throw Self.malformed(source, "token_type", "is not a list of \(tokens.count) integers")
            }
            self.types = types
        } else {
            types = [Int](repeating: Kind.normal, count: tokens.count)
        }
    }

    private static func malformed(_ source: String, _ key: String, _ what: String) -> MoruError {
        MoruError(
            .tokenizerMalformed, "\(source): tokenizer.ggml.\(key) \(what)",
            remedy: "the file may be damaged, or not hold a text model; fetch or convert it anew")
    }

    private func malformed(_ key: String, _ what: String) -> MoruError { Self.malformed(source, key, what) }

    private func value(_ key: String) -> MetadataValue? { metadata["tokenizer.ggml.\(key)"] }

    private func id(_ key: String) throws(MoruError) -> Int32? {
        guard let value = value("\(key)_token_id") else { return nil }
        guard let id = value.int, tokens.indices.contains(id) else {
            throw malformed("\(key)_token_id", "is not an id of the \(tokens.count) tokens")
        }
        return Int32(id)
    }

    /// The separator, under the key as first misspelt and as since corrected.
    private func separator() throws(MoruError) -> Int32? {
        if let id = try id("seperator") { return id }
        return try id("separator")
    }

    private func flag(_ key: String, default absent: Bool) throws(MoruError) -> Bool {
        guard let value = value(key) else { return absent }
        guard let flag = value.bool else { throw malformed(key, "is neither true nor false") }
        return flag
    }

    func read() throws(MoruError) -> TokenizerParts {
        guard let model = value("model")?.string else { throw malformed("model", "is missing or no string") }
        var parts: TokenizerParts
        switch model {
        case "gpt2": parts = try byteLevel()
        case "llama": parts = try sentencePiece()
        case "t5": parts = try unigram()
        case "bert": parts = try wordPiece()
        default:
            throw MoruError(
                .tokenizerUnsupported, "\(source): tokenizer.ggml.model is \"\(model)\"",
                remedy: "Moru reads gpt2, llama, t5 and bert")
        }
        parts.beginOfSequence = try id("bos")
        parts.endOfSequence = try id("eos")
        parts.padding = try id("padding")
        if let unknown = try id("unknown") { parts.unknown = unknown }
        parts.fillInMiddle = try fillInMiddle()
        for (index, type) in types.enumerated() where type == Kind.control || type == Kind.userDefined {
            let content = Array(vocabularyPiece(index, model).utf8)
            parts.addedTokens.append(
                AddedToken(id: Int32(index), content: content, isSpecial: type == Kind.control))
        }
        try addSequenceMarks(&parts, model)
        return parts
    }

    /// The marks that ask for the text between two others, under the keys of newer and older converters.
    private func fillInMiddle() throws(MoruError) -> FillInMiddle? {
        for keys in [["fim_pre", "fim_suf", "fim_mid"], ["prefix", "suffix", "middle"]] {
            guard let prefix = try id(keys[0]), let suffix = try id(keys[1]), let middle = try id(keys[2]) else {
                continue
            }
            var ends: [Int32] = []
            for key in ["fim_pad", "fim_rep", "fim_sep", "eot"] {
                if let end = try id(key) { ends.append(end) }
            }
            return FillInMiddle(prefix: prefix, suffix: suffix, middle: middle, ends: ends)
        }
        return nil
    }

    private func addSequenceMarks(_ parts: inout TokenizerParts, _ model: String) throws(MoruError) {
        let preAddsBegin = model == "gpt2" ? try Pre(name: preName)?.addsBegin == true : false
        let addsBegin = model == "llama" || model == "bert" || preAddsBegin
        let addsEnd = model == "t5"
        if model == "bert" {
            // BERT's marks are [CLS] and [SEP], under the keys of older and newer converters.
            let marked = try id("cls")
            guard let begin = marked ?? parts.beginOfSequence,
                let end = try separator() ?? parts.endOfSequence
            else { throw malformed("bos_token_id", "is missing, and with it [CLS] or [SEP]") }
            if try flag("add_bos_token", default: true) { parts.prefix = [begin] }
            if try flag("add_eos_token", default: try flag("add_sep_token", default: true)) { parts.suffix = [end] }
            parts.pair = .bert(begin: begin, end: end)
            return
        }
        if try flag("add_bos_token", default: addsBegin) {
            guard let begin = parts.beginOfSequence else {
                throw malformed("bos_token_id", "is missing, though sequences begin with it")
            }
            parts.prefix = [begin]
        }
        if try flag("add_eos_token", default: addsEnd) {
            guard let end = parts.endOfSequence else {
                throw malformed("eos_token_id", "is missing, though sequences end with it")
            }
            parts.suffix = [end]
        }
    }

    /// A piece as the models of Moru spell it.
    private func vocabularyPiece(_ index: Int, _ model: String) -> String {
        guard model == "bert" else { return tokens[index] }
        // The converter marks the start of words instead of their continuation.
        let token = tokens[index]
        if token.unicodeScalars.first == "▁" { return String(token.unicodeScalars.dropFirst()) }
        if types[index] != Kind.normal || (token.hasPrefix("[") && token.hasSuffix("]")) { return token }
        return "##" + token
    }

    private func vocabulary(_ model: String) throws(MoruError) -> Vocabulary {
        let vocabulary = Vocabulary(minimumCapacity: tokens.count)
        for index in tokens.indices where !vocabulary.insert(vocabularyPiece(index, model), id: index) {
            throw malformed("tokens", "has more than \(Vocabulary.maximumID) tokens")
        }
        return vocabulary
    }

    private func scores() throws(MoruError) -> [Double] {
        guard let scores = value("scores")?.doubles, scores.count == tokens.count, scores.allSatisfy(\.isFinite) else {
            throw malformed("scores", "is not a list of \(tokens.count) numbers")
        }
        return scores
    }

    // MARK: Byte-level BPE

    private var preName: String { value("pre")?.string ?? "default" }

    private func byteLevel() throws(MoruError) -> TokenizerParts {
        guard let pre = try Pre(name: preName) else {
            throw MoruError(
                .tokenizerUnsupported, "\(source): tokenizer.ggml.pre is \"\(preName)\"",
                remedy: "Moru knows \(Pre.names.joined(separator: ", ")); or use the model's tokenizer.json")
        }
        guard let list = value("merges")?.strings else {
            throw malformed("merges", "is missing or not a list of strings")
        }
        let vocabulary = try vocabulary("gpt2")
        let builder = BPEBuilder(vocabulary: vocabulary, merges: PairMap(minimumCapacity: list.count))
        for (rank, merge) in list.enumerated() {
            if let problem = builder.add(merge: merge, rank: rank) {
                throw malformed("merges", "has at \(rank) a merge that \(problem)")
            }
        }
        let model = BPEModel(
            vocabulary: vocabulary, merges: builder.merges, byteIDs: builder.byteIDs(),
            wholeWords: pre.ignoresMerges ? builder.wholeWords() : nil, unknown: nil, fusesUnknown: false,
            fallbackIDs: nil, continuingPrefix: [], endSuffix: [])
        var parts = TokenizerParts(vocabulary: vocabulary, model: .bpe(model))
        parts.normalizer = pre.composes ? .unicode(.nfc) : nil
        parts.preTokenizers = pre.steps
        if try flag("add_space_prefix", default: false), case .byteLevel(_, let splits) = parts.preTokenizers.last {
            parts.preTokenizers[parts.preTokenizers.count - 1] = .byteLevel(addsPrefixSpace: true, splits: splits)
        }
        parts.decoders = [.byteLevel]
        return parts
    }

    /// How a byte-level model cuts text, by the names converters give.
    private struct Pre {
        var steps: [PreTokenizer]
        var composes = false
        var ignoresMerges = false
        var addsBegin = false

        static let names = [
            "default", "gpt-2", "smollm", "starcoder", "refact", "command-r", "llama-bpe", "llama3", "llama-v3",
            "falcon3", "pixtral", "smaug-bpe", "dbrx", "qwen2", "deepseek-r1-qwen", "stablelm2", "phi-2", "olmo", "mpt",
            "jina-en", "jina-es", "jina-de", "roberta-bpe", "granite-docling", "gpt-4o",
        ]

        init?(name: String) throws(MoruError) {
            switch name {
            case "gpt-2", "phi-2", "olmo", "mpt", "jina-en", "jina-es", "jina-de", "roberta-bpe", "default":
                steps = [.byteLevel(addsPrefixSpace: false, splits: true)]
            case "smollm", "starcoder", "refact", "command-r":
                steps = [.classes(.digits(individual: true)), .byteLevel(addsPrefixSpace: false, splits: true)]
            case "llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral":
                steps = [.scan(.llama3(digits: 3)), .byteLevel(addsPrefixSpace: false, splits: false)]
                ignoresMerges = true
                addsBegin = name.hasPrefix("llama")
            case "smaug-bpe", "dbrx":
                steps = [.scan(.llama3(digits: 3)), .byteLevel(addsPrefixSpace: false, splits: false)]
            case "qwen2", "deepseek-r1-qwen", "stablelm2":
                steps = [.scan(.llama3(digits: 1)), .byteLevel(addsPrefixSpace: false, splits: false)]
                composes = name != "stablelm2"
            case "gpt-4o":
                let pattern = try RegexProgram(Self.o200k)
                steps = [
                    .split(.regex(pattern), .isolated, inverted: false),
                    .byteLevel(addsPrefixSpace: false, splits: false),
                ]
            default: return nil
            }
        }

        /// The published pattern of the vocabulary o200k, which Phi-4-mini has too: words begin at capitals, and keep
        /// what is contracted with them.
        private static let o200k: String = {
            let (before, upper, lower) = (
                #"[^\r\n\p{L}\p{N}]?"#, #"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"#, #"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"#
            )
            let contraction = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
            return "\(before)\(upper)*\(lower)+\(contraction)|\(before)\(upper)+\(lower)*\(contraction)"
                + #"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
        }()
    }

    // MARK: The other models

    private func sentencePiece() throws(MoruError) -> TokenizerParts {
        let vocabulary = try vocabulary("llama")
        let scores = try scores()
        let builder = BPEBuilder(vocabulary: vocabulary, merges: PairMap(minimumCapacity: tokens.count * 2))
        let types = types
        builder.addMerges(scores: scores) { types[$0] == Kind.normal || types[$0] == Kind.userDefined }
        let unknown = try id("unknown")
        let model = BPEModel(
            vocabulary: vocabulary, merges: builder.merges, byteIDs: nil, wholeWords: nil, unknown: unknown,
            fusesUnknown: true, fallbackIDs: builder.fallbackIDs(), continuingPrefix: [], endSuffix: [])
        var parts = TokenizerParts(vocabulary: vocabulary, model: .bpe(model))
        let mark = Array("▁".utf8)
        let addsSpace = try flag("add_space_prefix", default: true)
        parts.normalizer = .sequence(
            (addsSpace ? [.prepend(mark)] : []) + [.replace(.literal([0x20]), mark)])
        parts.decoders = [.replace(.literal(mark), [0x20]), .byteFallback, .fuse]
        if addsSpace { parts.decoders.append(.strip(content: [0x20], start: 1, stop: 0)) }
        return parts
    }

    private func unigram() throws(MoruError) -> TokenizerParts {
        let vocabulary = try vocabulary("t5")
        let section = Section(.null, path: "tokenizer.ggml.tokens", source: source)
        let read = try ReadModel.unigram(vocabulary, try scores(), try id("unknown"), fallback: false, section)
        var parts = TokenizerParts(vocabulary: vocabulary, model: read.model)
        var steps: [Normalizer] = []
        if let value = value("precompiled_charsmap") {
            guard let values = value.ints else { throw malformed("precompiled_charsmap", "is not a list of bytes") }
            let bytes = values.map { UInt8(truncatingIfNeeded: $0) }
            if !bytes.isEmpty { steps.append(.precompiled(try PrecompiledMap(bytes, source: source))) }
        }
        if try flag("remove_extra_whitespaces", default: false) {
            steps.append(.strip(left: true, right: true))
            steps.append(.replace(.regex(try RegexProgram(" {2,}")), [0x20]))
        }
        parts.normalizer = steps.isEmpty ? nil : .sequence(steps)
        let mark = Array("▁".utf8)
        let addsSpace = try flag("add_space_prefix", default: true)
        parts.preTokenizers = [.metaspace(mark: mark, addsSpace ? .always : .never, splits: true)]
        parts.decoders = [.metaspace(mark: mark, dropsFirst: addsSpace)]
        return parts
    }

    private func wordPiece() throws(MoruError) -> TokenizerParts {
        let vocabulary = try vocabulary("bert")
        let stated = try id("unknown")
        let spelt = vocabulary.find("[UNK]")
        guard let unknown = stated ?? (spelt >= 0 ? spelt : nil) else {
            throw malformed("unknown_token_id", "is missing")
        }
        let model = WordPieceModel(
            vocabulary: vocabulary, unknown: unknown, continuingPrefix: Array("##".utf8), maximumCharacters: 100)
        var parts = TokenizerParts(vocabulary: vocabulary, model: .wordPiece(model))
        parts.unknown = unknown
        // GGUF does not say whether case counts; a vocabulary with capital letters in its words says it does.
        let isCased = tokens.indices.contains { index in
            types[index] == Kind.normal
                && tokens[index].unicodeScalars.dropFirst().first.map { "A"..."Z" ~= $0 } ?? false
                && tokens[index].unicodeScalars.first == "▁"
        }
        parts.normalizer = .bert(
            BertNormalizer(cleansText: true, separatesIdeographs: true, stripsAccents: !isCased, lowercases: !isCased))
        parts.preTokenizers = [.classes(.bert)]
        parts.decoders = [.wordPiece(prefix: Array("##".utf8), cleansUp: true)]
        return parts
    }
}

extension GGUFTokenizerReader {
    /// The name under which converters know how a byte-level model cuts text; nil when none does.
    fileprivate static func preTokenizer(
        of parts: TokenizerParts, ignoresMerges: Bool
    ) throws(MoruError) -> String? {
        let exporter = TokenizerExporter(source: "")
        func words(_ steps: [PreTokenizer], composes: Bool) throws(MoruError) -> [JSON] {
            var words: [JSON] = [.bool(composes)]
            for step in steps { words.append(try exporter.preTokenizer(step)) }
            return words
        }
        if let normalizer = parts.normalizer {
            guard case .unicode(.nfc) = normalizer else { return nil }
        }
        let wanted = try words(parts.preTokenizers, composes: parts.normalizer != nil)
        // The first of several that do the same is the usual one; what llama.cpp calls the default is another cut
        for name in Pre.names where name != "default" {
            guard let pre = try Pre(name: name), pre.ignoresMerges == ignoresMerges else { continue }
            if try words(pre.steps, composes: pre.composes) == wanted { return name }
        }
        return nil
    }
}

extension Tokenizer {
    /// The `tokenizer.ggml.pre` that stands for how a byte-level model cuts text; nil when none does.
    static func ggufPreTokenizer(of parts: TokenizerParts, ignoresMerges: Bool) throws(MoruError) -> String? {
        try GGUFTokenizerReader.preTokenizer(of: parts, ignoresMerges: ignoresMerges)
    }
}
