import MoruBase

/// The shape of an example in a data file.
public enum ExampleShape: String, Sendable, Hashable, CaseIterable {
    /// `messages` with roles, or `conversations` with `from` and `value`.
    case chat
    /// `prompt` and `completion`, as texts or lists of messages.
    case completion
    /// `instruction` and `output`, with `input` and `system` where there are any.
    case instruction
    /// `text` and `label`.
    case classification
    /// `chosen` and `rejected`, as texts or lists of messages, with `prompt`.
    case preference
    /// `text`.
    case text
}

/// The format of a data file.
public enum DataFileFormat: String, Sendable, Hashable, CaseIterable {
    /// One JSON object a line.
    case jsonl
    /// One JSON array of objects.
    case json
    /// Comma-separated values with a header (RFC 4180).
    case csv
    /// The same, separated by tabs.
    case tsv
    /// A document a file.
    case text
}

/// A place that examples come from, and how they are read.
public struct DataSource: Sendable, Hashable {
    /// A file, a folder, or a pattern such as `data/*.jsonl`.
    public var path: String
    /// The files' format; nil tells it from their names.
    public var format: DataFileFormat?
    /// The examples' shape; nil tells it from their fields.
    public var shape: ExampleShape?
    /// The share among several sources; see ``EpochOrder/Part/weight``.
    public var weight: Double?
    /// What fields are called here, by their usual names: `["prompt": "question"]`.
    public var fields: [String: String] = [:]
    /// What separates the values of CSV; nil for the format's own.
    public var delimiter: Character?
    /// How classification is asked.
    public var classification = ClassificationPrompt()

    /// Makes a source.
    public init(
        _ path: String, format: DataFileFormat? = nil, shape: ExampleShape? = nil, weight: Double? = nil,
        fields: [String: String] = [:], delimiter: Character? = nil,
        classification: ClassificationPrompt = ClassificationPrompt()
    ) {
        self.path = path
        self.format = format
        self.shape = shape
        self.weight = weight
        self.fields = fields
        self.delimiter = delimiter
        self.classification = classification
    }
}

/// How a text with a label is put to a model.
public struct ClassificationPrompt: Sendable, Hashable {
    /// What is asked, as the system message; nil for none.
    public var instruction: String?
    /// A text with `{text}` and then `{label}` in it, which makes a prompt and its completion; nil for a conversation in
    /// which the user says the text and the assistant the label.
    public var template: String?
    /// The names of labels that are given as numbers 0, 1, ...; empty takes labels as they are.
    public var labels: [String]

    /// Makes a prompt.
    public init(instruction: String? = nil, template: String? = nil, labels: [String] = []) {
        self.instruction = instruction
        self.template = template
        self.labels = labels
    }
}

/// Which parts of an example are learnt.
public struct LearnedRoles: Sendable, Hashable {
    /// The roles; nil for everything, the template's own text included.
    public let roles: Set<String>?

    /// Only what the assistant says.
    public static let assistant = LearnedRoles(["assistant"])
    /// Everything.
    public static let all = LearnedRoles(roles: nil)

    /// What some roles say. Of a prompt and completion, the prompt counts as the user's, the completion as the
    /// assistant's.
    public init(_ roles: Set<String>) { self.init(roles: roles) }

    private init(roles: Set<String>?) { self.roles = roles }

    /// Whether what a role says is learnt.
    public func contains(_ role: String) -> Bool { roles?.contains(role) ?? true }
}
