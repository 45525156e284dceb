import MoruBase

extension Tokenizer {
    /// The tokenizer as a `tokenizer.json` of the Hugging Face `tokenizers` library.
    ///
    /// Byte-pair models can be written, which is what the GGUF files of language models hold.
    ///
    /// - Parameter source: Where the tokenizer came from, for error messages.
    /// - Throws: ``MoruError/Code/tokenizerUnsupported``, naming the part that cannot be written.
    public func fileJSON(source: String) throws(MoruError) -> JSON {
        let parts = core.parts
        guard case .bpe(let model) = parts.model else { throw Self.unwritable("a model other than BPE", source) }
        let exporter = TokenizerExporter(source: source)
        var normalizer: JSON = nil
        if let rewriting = parts.normalizer { normalizer = try exporter.normalizer(rewriting) }
        var steps: [JSON] = []
        for step in parts.preTokenizers { steps.append(try exporter.preTokenizer(step)) }
        var decoders: [JSON] = []
        for decoder in parts.decoders { decoders.append(try exporter.decoder(decoder)) }
        return [
            "version": "1.0", "truncation": nil, "padding": nil,
            "added_tokens": .array(parts.addedTokens.sorted { $0.id < $1.id }.map(exporter.addedToken)),
            "normalizer": normalizer,
            "pre_tokenizer": exporter.sequence(steps, "pretokenizers"),
            "post_processor": postProcessor, "decoder": exporter.sequence(decoders, "decoders"),
            "model": exporter.model(model, unknown: parts.unknown),
        ]
    }

    /// What goes into `tokenizer_config.json` beside it: the class that reads the file, and the special roles.
    public var configurationJSON: JSON {
        var config: JSONObject = JSONObject([
            ("tokenizer_class", "PreTrainedTokenizerFast"), ("clean_up_tokenization_spaces", false),
        ])
        let roles = [
            ("bos_token", beginOfSequence), ("eos_token", endOfSequence), ("unk_token", unknown),
            ("pad_token", padding),
        ]
        for (key, id) in roles { config[key] = id.flatMap(piece).map { .string($0) } }
        return .object(config)
    }

    /// The ids around a text, and between two, as templates.
    private var postProcessor: JSON {
        let parts = core.parts
        if parts.prefix.isEmpty, parts.suffix.isEmpty { return nil }
        func special(_ id: Int32, _ type: Int32 = 0) -> JSON {
            ["SpecialToken": ["id": .string(piece(id) ?? ""), "type_id": .int(Int(type))]]
        }
        func sequence(_ name: String, _ type: Int32) -> JSON {
            ["Sequence": ["id": .string(name), "type_id": .int(Int(type))]]
        }
        let single = parts.prefix.map { special($0) } + [sequence("A", 0)] + parts.suffix.map { special($0) }
        let pair = parts.pair?.parts.map { part in
            switch part {
            case .first(let type): sequence("A", type)
            case .second(let type): sequence("B", type)
            case .token(let id, let type): special(id, type)
            }
        }
        var tokens = JSONObject()
        for id in parts.prefix + parts.suffix + (parts.pair?.specials ?? []) {
            let name = piece(id) ?? ""
            tokens[name] = ["id": .string(name), "ids": [.int(Int(id))], "tokens": [.string(name)]]
        }
        return [
            "type": "TemplateProcessing", "single": .array(single),
            "pair": .array(pair ?? single + [sequence("B", 1)]), "special_tokens": .object(tokens),
        ]
    }

    fileprivate static func unwritable(_ what: String, _ source: String) -> MoruError {
        MoruError(
            .tokenizerUnsupported, "\(source): the tokenizer has \(what), which cannot be written as tokenizer.json",
            remedy: "use the tokenizer.json that the model was published with")
    }
}

struct TokenizerExporter {
    let source: String

    func addedToken(_ token: AddedToken) -> JSON {
        [
            "id": .int(Int(token.id)), "content": .string(text(token.content)),
            "single_word": .bool(token.isSingleWord), "lstrip": .bool(token.stripsLeft),
            "rstrip": .bool(token.stripsRight), "normalized": .bool(token.isNormalized),
            "special": .bool(token.isSpecial),
        ]
    }

    /// One step as it is, several as a sequence.
    func sequence(_ steps: [JSON], _ key: String) -> JSON {
        switch steps.count {
        case 0: nil
        case 1: steps[0]
        default: .object(JSONObject([("type", "Sequence"), (key, .array(steps))]))
        }
    }

    func normalizer(_ normalizer: Normalizer) throws(MoruError) -> JSON {
        switch normalizer {
        case .unicode(.nfc): return ["type": "NFC"]
        case .unicode(.nfd): return ["type": "NFD"]
        case .unicode(.nfkc): return ["type": "NFKC"]
        case .unicode(.nfkd): return ["type": "NFKD"]
        case .lowercase: return ["type": "Lowercase"]
        case .stripAccents: return ["type": "StripAccents"]
        case .replace(.literal(let pattern), let content):
            return [
                "type": "Replace", "pattern": ["String": .string(text(pattern))], "content": .string(text(content)),
            ]
        case .prepend(let prefix): return ["type": "Prepend", "prepend": .string(text(prefix))]
        case .strip(let left, let right):
            return ["type": "Strip", "strip_left": .bool(left), "strip_right": .bool(right)]
        case .nmt: return ["type": "Nmt"]
        case .byteLevel: return ["type": "ByteLevel"]
        case .sequence(let steps):
            var parts: [JSON] = []
            for step in steps { parts.append(try self.normalizer(step)) }
            return ["type": "Sequence", "normalizers": .array(parts)]
        case .bert(let bert):
            return [
                "type": "BertNormalizer", "clean_text": .bool(bert.cleansText),
                "handle_chinese_chars": .bool(bert.separatesIdeographs), "strip_accents": .bool(bert.stripsAccents),
                "lowercase": .bool(bert.lowercases),
            ]
        case .precompiled: throw Tokenizer.unwritable("a precompiled normalizer", source)
        case .replace: throw Tokenizer.unwritable("a normalizer that replaces a regular expression", source)
        }
    }

    func preTokenizer(_ step: PreTokenizer) throws(MoruError) -> JSON {
        switch step {
        case .byteLevel(let addsSpace, let splits):
            return [
                "type": "ByteLevel", "add_prefix_space": .bool(addsSpace), "trim_offsets": true,
                "use_regex": .bool(splits),
            ]
        case .scan(let scanner):
            return [
                "type": "Split", "pattern": ["Regex": .string(scanner.pattern)], "behavior": "Isolated",
                "invert": false,
            ]
        case .split(.literal(let pattern), let behavior, let inverted):
            return [
                "type": "Split", "pattern": ["String": .string(text(pattern))],
                "behavior": .string(behavior.rawValue), "invert": .bool(inverted),
            ]
        case .classes(.digits(let individual)): return ["type": "Digits", "individual_digits": .bool(individual)]
        case .classes(.whitespace): return ["type": "Whitespace"]
        case .classes(.whitespaceSplit): return ["type": "WhitespaceSplit"]
        case .metaspace(let mark, let scheme, let splits):
            return [
                "type": "Metaspace", "replacement": .string(text(mark)), "prepend_scheme": .string(scheme.rawValue),
                "split": .bool(splits),
            ]
        case .classes(.bert): return ["type": "BertPreTokenizer"]
        case .classes(.punctuation(let behavior)):
            return ["type": "Punctuation", "behavior": .string(behavior.rawValue)]
        case .classes(.delimiter(let value)):
            let delimiter = Unicode.Scalar(value).map { String($0) } ?? ""
            return ["type": "CharDelimiterSplit", "delimiter": .string(delimiter)]
        case .split(.regex(let program), let behavior, let inverted):
            return [
                "type": "Split", "pattern": ["Regex": .string(program.pattern)],
                "behavior": .string(behavior.rawValue), "invert": .bool(inverted),
            ]
        }
    }

    func decoder(_ decoder: TokenDecoder) throws(MoruError) -> JSON {
        switch decoder {
        case .byteLevel:
            return ["type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true]
        case .metaspace(let mark, let dropsFirst):
            return [
                "type": "Metaspace", "replacement": .string(text(mark)),
                "prepend_scheme": dropsFirst ? "always" : "never", "split": true,
            ]
        case .byteFallback: return ["type": "ByteFallback"]
        case .fuse: return ["type": "Fuse"]
        case .strip(let content, let start, let stop):
            return ["type": "Strip", "content": .string(text(content)), "start": .int(start), "stop": .int(stop)]
        case .replace(.literal(let pattern), let content):
            return [
                "type": "Replace", "pattern": ["String": .string(text(pattern))], "content": .string(text(content)),
            ]
        case .bpe(let suffix): return ["type": "BPEDecoder", "suffix": .string(text(suffix))]
        case .wordPiece(let prefix, let cleansUp):
            return ["type": "WordPiece", "prefix": .string(text(prefix)), "cleanup": .bool(cleansUp)]
        case .replace: throw Tokenizer.unwritable("a decoder that replaces a regular expression", source)
        }
    }

    func model(_ model: BPEModel, unknown: Int32?) -> JSON {
        let vocabulary = model.vocabulary
        var vocab = JSONObject()
        for id in 0..<vocabulary.size where vocabulary.contains(id: id) {
            let piece = Array(vocabulary.bytes(of: id))
            // Where two ids share a piece, text always becomes the one that is found
            if find(piece, in: vocabulary) == id { vocab[text(piece)] = .int(id) }
        }
        let merges = merges(model).map { JSON.array([.string(text($0.left)), .string(text($0.right))]) }
        let unknownPiece = (model.unknown ?? (model.byteIDs == nil ? unknown : nil)).map {
            vocabulary.bytes(of: Int($0))
        }
        return [
            "type": "BPE", "dropout": nil, "unk_token": unknownPiece.map { .string(text(Array($0))) } ?? nil,
            "continuing_subword_prefix": model.continuingPrefix.isEmpty ? nil : .string(text(model.continuingPrefix)),
            "end_of_word_suffix": model.endSuffix.isEmpty ? nil : .string(text(model.endSuffix)),
            "fuse_unk": .bool(model.fusesUnknown), "byte_fallback": .bool(model.fallbackIDs != nil),
            "ignore_merges": .bool(model.wholeWords != nil), "vocab": .object(vocab),
            "merges": .array(merges),
        ]
    }

    /// The pairs of pieces that a model merges, the first of them first.
    func merges(_ model: BPEModel) -> [(left: [UInt8], right: [UInt8])] {
        let vocabulary = model.vocabulary
        var merges: [(rank: UInt64, order: Int, left: [UInt8], right: [UInt8])] = []
        for id in 0..<vocabulary.size where vocabulary.contains(id: id) {
            let piece = Array(vocabulary.bytes(of: id))
            guard find(piece, in: vocabulary) == id else { continue }
            for cut in 1..<max(1, piece.count) where piece[cut] & 0xC0 != 0x80 {
                let (left, right) = (Array(piece[..<cut]), model.continuingPrefix + piece[cut...])
                let (leftID, rightID) = (find(left, in: vocabulary), find(right, in: vocabulary))
                guard leftID >= 0, rightID >= 0 else { continue }
                let merge = model.merges.find(UInt32(leftID), UInt32(rightID))
                guard merge != PairMap.missing, merge & 0xFFFF_FFFF == UInt64(id) else { continue }
                merges.append((merge >> 32, merges.count, left, right))
            }
        }
        return merges.sorted { ($0.rank, $0.order) < ($1.rank, $1.order) }.map { ($0.left, $0.right) }
    }

    private func find(_ piece: [UInt8], in vocabulary: Vocabulary) -> Int {
        piece.withUnsafeBufferPointer { Int(vocabulary.find($0)) }
    }

    private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
}
