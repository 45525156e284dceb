/// Something to be read by a model that classifies or embeds.
enum TextInput: Sendable, Hashable {
    /// A text; the tokens and the prompt that the model's texts have are put around it.
    case text(String)
    /// Token ids, as they are.
    case tokens([Int32])
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

/// What models have said of texts.
struct LabelledTexts: Sendable {
    /// For each text its vector, or the logits of its labels.
    var rows: [[Float]]
    /// The tokens read.
    var tokenCount: Int
}
