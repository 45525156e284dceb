import Foundation
import MoruBase

/// Everything that decides an evaluation: the data, the models, what is measured, and what must hold.
///
/// Read from a YAML file (``init(file:overrides:)``) or made in Swift. Paths are resolved: those of a file are relative
/// to it.
public struct EvaluationRecipe: Sendable, Hashable {
    /// A model, with an adapter or without.
    public struct Model: Sendable, Hashable {
        /// The name in tables.
        public var name: String
        /// The model: a path, or a name that the caller resolves.
        public var model: String
        /// The adapter's directory.
        public var adapter: String?
        /// Whether it must pass the gates; what others are compared with need not.
        public var isGated: Bool

        /// Makes a model; without a name it takes that of the adapter's directory, or the model's.
        public init(name: String? = nil, model: String, adapter: String? = nil, isGated: Bool = true) {
            (self.model, self.adapter, self.isGated) = (model, adapter, isGated)
            self.name = name ?? Self.name(of: adapter ?? model)
        }

        private static func name(of path: String) -> String {
            let parts = path.split(separator: "/").map(String.init)
            // A tuning run's adapter lies in a directory of this name
            if parts.count > 1, parts.last == "adapter" { return parts[parts.count - 2] }
            let last = parts.last ?? path
            return last.hasSuffix(".gguf") ? String(last.dropLast(5)) : last
        }
    }

    /// How the data is to be taken.
    public enum Task: String, Sendable, Hashable, CaseIterable {
        /// As the models tell, where they have a head, else the first example.
        case auto
        /// See ``EvaluationTask``.
        case answers, choice, text, head
    }

    /// The examples.
    public var data: String
    /// How they are to be taken.
    public var task = Task.auto
    /// The models; differences are from the first one.
    public var models: [Model]
    /// A saved report that the models are compared with, in the first column.
    public var against: String?
    /// How answers and references are compared as texts.
    public var metrics: [TextMetric] = []
    /// The labels to report; empty for all that the references give.
    public var labels: [String] = []
    /// What to ask of `text` and `label` lines.
    public var instruction: String?
    /// How many examples to use at most; nil for all.
    public var limit: Int?
    /// The most tokens of an answer.
    public var maximumTokens = 48
    /// The most tokens of a text that are read at once; nil for the model's context.
    public var windowLength: Int?
    /// What must hold.
    public var gates: [Gate] = []
    /// The HTML file that the report is written to.
    public var report: String?
    /// The JSON file that the whole result is written to.
    public var save: String?

    /// Makes a recipe.
    public init(data: String, models: [Model]) { (self.data, self.models) = (data, models) }

    /// Refuses what cannot be carried out, before any work.
    ///
    /// - Throws: ``MoruError/Code/recipeValue``, ``MoruError/Code/fileNotFound`` or ``MoruError/Code/fileUnwritable``.
    public func requireConsistency() throws(MoruError) {
        guard !models.isEmpty else {
            throw MoruError(.recipeValue, "no model is named", remedy: "name the models to evaluate")
        }
        var names: Set<String> = []
        for model in models where !names.insert(model.name).inserted {
            throw MoruError(
                .recipeValue, "two models are called \(model.name)", remedy: "give one of them another name")
        }
        for file in [report, save].compactMap(\.self) where FileSystem.isDirectory(file) {
            throw MoruError(.fileUnwritable, "\(file) is a directory", remedy: "name a file")
        }
        for path in [against].compactMap(\.self) + models.compactMap(\.adapter) where !FileSystem.exists(path) {
            throw MoruError(.fileNotFound, "\(path) does not exist", remedy: "check the path")
        }
    }
}
