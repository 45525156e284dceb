import MoruBase
import MoruText

/// An example as the model sees it, with what of it is learnt.
public struct ExamplePreview: Sendable {
    /// A token.
    public struct Token: Sendable, Hashable {
        /// Its id.
        public let id: Int32
        /// The token as it is stored in the vocabulary.
        public let piece: String
        /// Whether it is learnt.
        public let isTarget: Bool
    }

    /// A run of tokens that are all learnt, or all not.
    public struct Run: Sendable, Hashable {
        /// Their text, special tokens spelt out.
        public let text: String
        /// Whether they are learnt.
        public let isTarget: Bool
    }

    /// Where the example stands.
    public let place: DataPlace
    /// Which answer of a preference this is, `chosen` or `rejected`; nil for another example.
    public let side: String?
    /// The tokens.
    public let tokens: [Token]
    /// Their text.
    public let runs: [Run]

    /// The first examples of a source.
    ///
    /// - Parameters:
    ///   - count: How many.
    ///   - skipping: How many to pass over before.
    /// - Throws: What reading and the template throw; ``MoruError/Code/dataEmpty`` when there are no examples there.
    public static func read(
        _ source: DataSource, encoder: ExampleEncoder, count: Int, skipping: Int = 0
    ) throws(MoruError) -> [ExamplePreview] {
        var reader = try ExampleReader(source, learned: encoder.learned)
        var previews: [ExamplePreview] = []
        var (read, shown) = (0, 0)
        while shown < count, let entry = try reader.next() {
            read += 1
            guard read > skipping else { continue }
            shown += 1
            var answers = encoder
            answers.learned = .assistant
            switch entry.example {
            case .single(let example):
                previews.append(Self(entry.place, nil, try encoder.encode(example, at: entry.place), encoder.tokenizer))
            case .pair(let pair):
                for (side, example) in [("chosen", pair.chosen), ("rejected", pair.rejected)] {
                    let encoded = try answers.encode(example, at: entry.place)
                    previews.append(Self(entry.place, side, encoded, encoder.tokenizer))
                }
            }
        }
        guard !previews.isEmpty else {
            throw MoruError(
                .dataEmpty, "\(source.path) has \(read == 0 ? "no" : "only \(read)") examples",
                remedy: read == 0 ? "write one JSON object per line" : "skip fewer")
        }
        return previews
    }

    init(_ place: DataPlace, _ side: String?, _ example: TokenizedExample, _ tokenizer: Tokenizer) {
        self.place = place
        self.side = side
        tokens = zip(example.tokens, example.isTarget).map { id, isTarget in
            Token(id: id, piece: tokenizer.piece(id) ?? "", isTarget: isTarget)
        }
        var runs: [Run] = []
        var begin = 0
        for end in 1..<max(2, tokens.count + 1) where end <= tokens.count {
            if end < tokens.count, tokens[end].isTarget == tokens[begin].isTarget { continue }
            runs.append(Run(text: tokenizer.decode(tokens[begin..<end].map(\.id)), isTarget: tokens[begin].isTarget))
            begin = end
        }
        self.runs = runs
    }

    /// How many of the tokens are learnt.
    public var targetCount: Int { tokens.count { $0.isTarget } }
}
