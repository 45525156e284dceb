import MoruText

/// Something to be read by a model that classifies or embeds.
enum TextInput: Sendable, Hashable {
    /// A text; the tokens and the prompt that the model's texts have are put around it.
    case text(String)
    /// Token ids, as they are.
    case tokens([Int32])

    /// Bytes of text, or ids, that there are to read.
    var size: Int {
        switch self {
        case .text(let text): text.utf8.count
        case .tokens(let ids): ids.count
        }
    }
}

/// Texts of a request, where each is in it, and how they are to be read.
struct TextInputs: Sendable {
    /// The most that a request may have, as OpenAI's API has it.
    static let maximumCount = 2048

    /// The texts.
    var inputs: [TextInput]
    /// The field of each, for errors.
    var names: [String]
    /// The most tokens of a text, longer ones being cut; nil refuses texts that are longer than the model takes.
    var cutTokens: Int?
    /// Whether the tokens that the model's texts have are put around them.
    var addsSpecialTokens = true
    /// The name of an embedder's prompt that goes before each text; nil for its default, if it has one.
    var prompt: String?

    /// Texts of a field that is an array, named by their places in it.
    init(_ inputs: [TextInput], in field: String) {
        self.init(inputs, names: inputs.indices.map { "\(field)[\($0)]" })
    }

    /// Texts, each with the name of its field.
    init(_ inputs: [TextInput], names: [String]) {
        precondition(inputs.count == names.count, "\(inputs.count) texts have \(names.count) names")
        (self.inputs, self.names) = (inputs, names)
    }
}

/// Pairs of texts to be judged: one text with each of others, or each with its own.
struct TextPairs: Sendable {
    /// The texts that come first; one, or as many as the others.
    var first: TextInputs
    /// The others.
    var second: TextInputs
    /// The most tokens of a pair, longer ones being cut; nil refuses pairs that are longer than the model takes.
    var cutTokens: Int? {
        get { second.cutTokens }
        set { (first.cutTokens, second.cutTokens) = (newValue, newValue) }
    }

    /// The place among the first texts of a pair's.
    func firstIndex(_ index: Int) -> Int { first.inputs.count == 1 ? 0 : index }

    /// The texts of a pair.
    func texts(_ index: Int) -> (String, String) {
        func text(_ input: TextInput) -> String { if case .text(let text) = input { text } else { "" } }
        return (text(first.inputs[firstIndex(index)]), text(second.inputs[index]))
    }
}

/// What a model says of the texts of a request.
struct LabelledTexts<Result: Sendable>: Sendable {
    /// For each text its vector, the logits of its labels, or the spans found in it.
    var results: [Result]
    /// The tokens of all texts.
    var tokenCount: Int
}

extension Sequence where Element == TokenSequence {
    /// The tokens of all sequences.
    var tokenCount: Int { reduce(0) { $0 + $1.ids.count } }
}
