import MoruBase

/// Tokens, and for each the part of the text that it belongs to (`token_type_ids`).
public struct TokenSequence: Sendable, Hashable {
    /// The ids.
    public var ids: [Int32]
    /// A number for each, 0 for the first of two texts and mostly 1 for the second; empty where all are 0.
    public var types: [Int32]

    /// Makes a sequence.
    public init(_ ids: [Int32], types: [Int32] = []) {
        precondition(types.isEmpty || types.count == ids.count, "\(ids.count) tokens have \(types.count) types")
        (self.ids, self.types) = (ids, types)
    }
}

/// How two texts become one sequence, as the `pair` of a post-processor says it.
struct PairTemplate: Sendable, Hashable {
    enum Part: Sendable, Hashable {
        /// The tokens of a text.
        case first(type: Int32)
        case second(type: Int32)
        /// A token between or around them.
        case token(Int32, type: Int32)
    }

    var parts: [Part]

    /// One text after the other, as without a post-processor.
    static let plain = PairTemplate(parts: [.first(type: 0), .second(type: 1)])

    /// `[CLS] A [SEP] B [SEP]`, the second text and its end of another type.
    static func bert(begin: Int32, end: Int32) -> PairTemplate {
        PairTemplate(parts: [
            .token(begin, type: 0), .first(type: 0), .token(end, type: 0), .second(type: 1), .token(end, type: 1),
        ])
    }

    /// `<s> A </s></s> B </s>`, all of one type.
    static func roberta(begin: Int32, end: Int32) -> PairTemplate {
        PairTemplate(parts: [
            .token(begin, type: 0), .first(type: 0), .token(end, type: 0), .token(end, type: 0), .second(type: 0),
            .token(end, type: 0),
        ])
    }

    /// Tokens that belong to neither text.
    var specials: [Int32] { parts.compactMap { if case .token(let id, _) = $0 { id } else { nil } } }

    /// The sequence of two texts' tokens.
    func sequence(_ first: some Collection<Int32>, _ second: some Collection<Int32>) -> TokenSequence {
        var (ids, types): ([Int32], [Int32]) = ([], [])
        func append(_ tokens: some Collection<Int32>, _ type: Int32) {
            ids += tokens
            types += Array(repeating: type, count: tokens.count)
        }
        for part in parts {
            switch part {
            case .first(let type): append(first, type)
            case .second(let type): append(second, type)
            case .token(let id, let type): append(CollectionOfOne(id), type)
            }
        }
        return TokenSequence(ids, types: types)
    }
}

extension Tokenizer {
    /// Two texts as one sequence, such as a question and a passage that are judged together.
    ///
    /// - Parameters:
    ///   - limit: The most tokens; of the longer text, or where both are long of both alike, the ends are left out, as
    ///     transformers does it (`longest_first`). nil for no limit.
    /// - Throws: ``MoruError/Code/tokenizerUnsupported`` when the tokenizer's file does not say how.
    public func encodePair(
        _ first: String, _ second: String, limit: Int? = nil, parseSpecial: Bool = false
    ) throws(MoruError) -> TokenSequence {
        guard let template = core.parts.pair else {
            throw MoruError(
                .tokenizerUnsupported, "the tokenizer does not say how two texts become one",
                remedy: "use a model with a tokenizer.json whose post_processor has a template of pairs")
        }
        var texts = [first, second].map { encode($0, addSpecialTokens: false, parseSpecial: parseSpecial)[...] }
        if let limit {
            let room = max(0, limit - template.specials.count)
            if texts[0].count + texts[1].count > room {
                let (short, long) = texts[0].count <= texts[1].count ? (0, 1) : (1, 0)
                let kept = min(texts[short].count, room / 2)
                texts[short] = texts[short].prefix(kept)
                texts[long] = texts[long].prefix(room - kept)
            }
        }
        return template.sequence(texts[0], texts[1])
    }
}
