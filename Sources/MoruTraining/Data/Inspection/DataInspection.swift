import MoruBase
import MoruText

/// What is in some data: how much, of which shape and length, what occurs twice, what cannot be read.
public struct DataInspection: Sendable {
    /// How a number varies over the examples.
    public struct Distribution: Sendable, Hashable {
        /// The smallest.
        public let minimum: Int
        /// The middle one, the lower of two.
        public let median: Int
        /// What 95 % do not exceed.
        public let p95: Int
        /// The largest.
        public let maximum: Int
        /// The sum.
        public let total: Int

        /// The distribution of some numbers; nil of none.
        init?(_ numbers: [Int]) {
            guard !numbers.isEmpty else { return nil }
            let sorted = numbers.sorted()
            func quantile(_ share: Double) -> Int {
                sorted[max(0, min(sorted.count - 1, Int((share * Double(sorted.count)).rounded(.up)) - 1))]
            }
            (minimum, median, p95, maximum) = (sorted[0], quantile(0.5), quantile(0.95), sorted[sorted.count - 1])
            total = sorted.reduce(0, +)
        }
    }

    /// Something counted.
    public struct Count: Sendable, Hashable {
        /// What.
        public let name: String
        /// How often.
        public let count: Int
    }

    /// Records that cannot be used.
    public struct Problem: Sendable, Hashable {
        /// What is wrong, with file and line.
        public let message: String
        /// What can be done about it.
        public let remedy: String?
    }

    /// Examples that are the same, or nearly.
    public struct Likeness: Sendable, Hashable {
        /// Where they stand.
        public let places: [DataPlace]
        /// What each says, shortened.
        public let texts: [String]
        /// How alike their questions are, 0 to 1.
        public let similarity: Double
        /// Whether they have different answers.
        public let answersDiffer: Bool
    }

    /// The values of a label.
    public struct Label: Sendable, Hashable {
        /// The label's name.
        public let name: String
        /// How often it has each value, the commonest first.
        public let values: [Count]
    }

    /// Examples longer than a limit.
    public struct Cut: Sendable, Hashable {
        /// The most tokens.
        public let limit: Int
        /// Examples that are longer.
        public var examples = 0
        /// Their tokens past the limit.
        public var tokens = 0
        /// Examples of which nothing to learn would be left.
        public var withoutTargets = 0
    }

    /// The files read.
    public internal(set) var files: [DataFile] = []
    /// Files of folders that were passed over.
    public internal(set) var skippedFiles: [String] = []
    /// Examples of each shape.
    public internal(set) var shapes: [Count] = []
    /// The number of examples that can be used.
    public internal(set) var examples = 0
    /// What cannot be used; the first few, and how many in all.
    public internal(set) var problems: [Problem] = []
    /// How many records cannot be used.
    public internal(set) var problemCount = 0
    /// Fields that are empty in usable examples, by name.
    public internal(set) var emptyFields: [Count] = []
    /// Messages by role.
    public internal(set) var roles: [Count] = []
    /// Characters of an example.
    public internal(set) var characters: Distribution?
    /// Tokens of an example.
    public internal(set) var tokens: Distribution?
    /// Tokens of an example that are learnt.
    public internal(set) var targets: Distribution?
    /// What a limit would cut.
    public internal(set) var cut: Cut?
    /// The commonest tokens, as they are stored in the vocabulary.
    public internal(set) var commonTokens: [Count] = []
    /// How many ids of the vocabulary occur.
    public internal(set) var distinctTokens = 0
    /// Groups of examples that say the same.
    public internal(set) var duplicates: [Likeness] = []
    /// Groups that ask the same and answer differently.
    public internal(set) var conflicts: [Likeness] = []
    /// Pairs that are nearly the same.
    public internal(set) var nearDuplicates: [Likeness] = []
    /// Labels and how often each value occurs.
    public internal(set) var labels: [Label] = []
    /// Examples by language code; `unknown` where it cannot be told.
    public internal(set) var languages: [Count] = []
}
