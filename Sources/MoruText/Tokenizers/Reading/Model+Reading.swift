import MoruBase

/// A model with what its section says besides.
struct ReadModel {
    var vocabulary: Vocabulary
    var model: TokenizerModel
    var unknown: Int32?
}

extension ReadModel {
    /// Reads the `model` section.
    ///
    /// - Parameter readsBytes: Whether words may reach a BPE model as raw bytes.
    init(_ section: Section, readsBytes: Bool) throws(MoruError) {
        let kind: String
        if let type = section.optional("type") {
            kind = try type.string()
        } else if section.optional("merges") != nil {
            // Files of old versions do not say.
            kind = "BPE"
        } else if section.optional("continuing_subword_prefix") != nil {
            kind = "WordPiece"
        } else if case .array = section.json["vocab"] {
            kind = "Unigram"
        } else {
            kind = "WordLevel"
        }
        switch kind {
        case "BPE": try self.init(bpe: section, readsBytes: readsBytes)
        case "Unigram": try self.init(unigram: section)
        case "WordPiece": try self.init(wordPiece: section)
        case "WordLevel": try self.init(wordLevel: section)
        default: throw section.unsupported("is a model of unknown type \"\(kind)\"")
        }
    }

    private static func vocabulary(_ section: Section) throws(MoruError) -> Vocabulary {
        let vocab = try section.required("vocab")
        let object = try vocab.object()
        let vocabulary = Vocabulary(minimumCapacity: object.count)
        for (piece, value) in object.members {
            guard case .int(let id) = value, id >= 0, id <= Vocabulary.maximumID else {
                throw vocab.malformed("gives \"\(piece)\" the id \(value.text()), which is not a valid id")
            }
            guard vocabulary.insert(piece, id: id) else {
                throw vocab.malformed("gives \"\(piece)\" the id \(id), which another token has")
            }
        }
        return vocabulary
    }

    private static func unknown(_ section: Section, _ vocabulary: Vocabulary) throws(MoruError) -> Int32? {
        guard let token = section.optional("unk_token") else { return nil }
        let id = vocabulary.find(try token.string())
        guard id >= 0 else { throw token.malformed("is \"\(try token.string())\", which is not in the vocabulary") }
        return id
    }

    private init(bpe section: Section, readsBytes: Bool) throws(MoruError) {
        let vocabulary = try Self.vocabulary(section)
        let unknown = try Self.unknown(section, vocabulary)
        let prefix = Array(try section.string("continuing_subword_prefix", default: "").utf8)
        let suffix = Array(try section.string("end_of_word_suffix", default: "").utf8)
        let merges = try Self.merges(section.required("merges"), vocabulary, prefix)
        if let dropout = section.optional("dropout"), try dropout.number() > 0 {
            throw dropout.unsupported("makes the ids random")
        }
        let ignoresMerges = try section.bool("ignore_merges", default: false)
        let fallsBack = try section.bool("byte_fallback", default: false)
        let bytes = readsBytes && prefix.isEmpty && suffix.isEmpty && !fallsBack
        let builder = BPEBuilder(vocabulary: vocabulary, merges: merges)
        model = .bpe(
            BPEModel(
                vocabulary: vocabulary, merges: merges, byteIDs: bytes ? builder.byteIDs() : nil,
                wholeWords: ignoresMerges ? (bytes ? builder.wholeWords() : vocabulary) : nil, unknown: unknown,
                fusesUnknown: try section.bool("fuse_unk", default: false),
                fallbackIDs: fallsBack ? builder.fallbackIDs() : nil,
                continuingPrefix: prefix, endSuffix: suffix))
        self.vocabulary = vocabulary
        self.unknown = unknown
    }

    private static func merges(
        _ section: Section, _ vocabulary: Vocabulary, _ prefix: [UInt8]
    ) throws(MoruError) -> PairMap {
        guard case .array(let list) = section.json else {
            throw section.malformed("is \(section.json.kindName), not an array")
        }
        let merges = PairMap(minimumCapacity: list.count)
        let builder = BPEBuilder(vocabulary: vocabulary, merges: merges)
        for (rank, merge) in list.enumerated() {
            let problem: String?
            switch merge {
            case .string(let text): problem = builder.add(merge: text, rank: rank, prefix: prefix.count)
            case .array(let pair):
                guard pair.count == 2, case .string(let left) = pair[0], case .string(let right) = pair[1] else {
                    throw section.malformed("has at \(rank) what is not a pair of strings")
                }
                problem = builder.add(Array(left.utf8), Array(right.utf8), rank: rank, prefix: prefix.count)
            default: problem = "is \(merge.kindName)"
            }
            if let problem { throw section.malformed("has at \(rank) a merge that \(problem)") }
        }
        return merges
    }

    private init(unigram section: Section) throws(MoruError) {
        let vocab = try section.required("vocab")
        guard case .array(let list) = vocab.json, !list.isEmpty else {
            throw vocab.malformed("is not a list of pieces")
        }
        let vocabulary = Vocabulary(minimumCapacity: list.count)
        var scores: [Double] = []
        scores.reserveCapacity(list.count)
        for (id, entry) in list.enumerated() {
            guard let piece = entry[0]?.string, let score = entry[1]?.double, entry[2] == nil else {
                throw vocab.malformed("has at \(id) what is not a pair of a piece and its score")
            }
            guard vocabulary.insert(piece, id: id, replacing: true) else {
                throw vocab.malformed("has more than \(Vocabulary.maximumID) pieces")
            }
            scores.append(score)
        }
        var unknown: Int32?
        if let id = section.optional("unk_id") { unknown = Int32(try id.integer(in: 0...list.count - 1)) }
        let fallback = try section.bool("byte_fallback", default: false)
        self = try Self.unigram(vocabulary, scores, unknown, fallback: fallback, section)
    }

    static func unigram(
        _ vocabulary: Vocabulary, _ scores: [Double], _ unknown: Int32?, fallback: Bool, _ section: Section
    ) throws(MoruError) -> ReadModel {
        let fallbackIDs =
            fallback ? BPEBuilder(vocabulary: vocabulary, merges: PairMap()).fallbackIDs() : nil
        if unknown == nil, fallbackIDs?.contains(-1) ?? true {
            throw section.malformed("has no unknown token and no bytes to fall back to")
        }
        let model = UnigramModel(vocabulary: vocabulary, scores: scores, unknown: unknown, fallbackIDs: fallbackIDs)
        return ReadModel(vocabulary: vocabulary, model: .unigram(model), unknown: unknown)
    }

    private init(wordPiece section: Section) throws(MoruError) {
        let vocabulary = try Self.vocabulary(section)
        guard let unknown = try Self.unknown(section, vocabulary) else { throw section.malformed("has no unk_token") }
        let limit = section.optional("max_input_chars_per_word")
        model = .wordPiece(
            WordPieceModel(
                vocabulary: vocabulary, unknown: unknown,
                continuingPrefix: Array(try section.string("continuing_subword_prefix", default: "##").utf8),
                maximumCharacters: try limit?.integer(in: 0...1 << 40) ?? 100))
        self.vocabulary = vocabulary
        self.unknown = unknown
    }

    private init(wordLevel section: Section) throws(MoruError) {
        let vocabulary = try Self.vocabulary(section)
        guard let unknown = try Self.unknown(section, vocabulary) else { throw section.malformed("has no unk_token") }
        model = .wordLevel(WordLevelModel(vocabulary: vocabulary, unknown: unknown))
        self.vocabulary = vocabulary
        self.unknown = unknown
    }
}
