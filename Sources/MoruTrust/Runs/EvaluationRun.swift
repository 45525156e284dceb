import MoruBase
import MoruEngine
import MoruModels
import MoruNN
import MoruTraining

/// Carries out an evaluation recipe: every model on the same examples, one after the other.
///
///     let recipe = try EvaluationRecipe(file: "eval.yaml")
///     let comparison = try await EvaluationRun(recipe) { try PretrainedModel.load($0) }.run()
///     print(comparison.passes)
public struct EvaluationRun {
    /// How far a run is.
    public struct Progress: Sendable {
        /// The model that is at work.
        public let model: String
        /// Examples of it done, and in all.
        public let done, total: Int
    }

    private enum Data {
        case answers([EvaluationExample])
        case choice([MultipleChoiceExample])
        case text([String])
        case head([HeadEvaluationExample])
    }

    private let recipe: EvaluationRecipe
    private let load: (String) throws -> PretrainedModel
    private let path: (String) throws -> String
    private let saved: EvaluationComparison.Column?
    private let data: Data

    /// Reads the data, and refuses what cannot be carried out.
    ///
    /// - Parameters:
    ///   - recipe: What to do.
    ///   - path: Where the model of a name lies; models with a head are opened there.
    ///   - load: Opens the language model of a name.
    /// - Throws: What reading the data and ``EvaluationRecipe/requireConsistency()`` throw,
    ///   ``MoruError/Code/evaluationGate`` when a gate names a figure that the evaluation will not give, and
    ///   ``MoruError/Code/recipeValue`` for settings that the task has no use for.
    public init(
        _ recipe: EvaluationRecipe, path: @escaping (String) throws -> String = { $0 },
        load: @escaping (String) throws -> PretrainedModel
    ) throws(MoruError) {
        try recipe.requireConsistency()
        (self.recipe, self.path, self.load) = (recipe, path, load)
        if let against = recipe.against {
            saved = try EvaluationComparison.Column(
                Self.name(of: against), saved: try JSON.parse(file: against), source: against)
        } else {
            saved = nil
        }
        // A name that stands for nothing is refused when it is opened
        let areHeaded = recipe.models.allSatisfy { entry in
            (try? path(entry.model)).map { HeadedModel.isHeaded($0, adapter: entry.adapter) } ?? false
        }
        let task = recipe.task != .auto ? recipe.task : areHeaded ? .head : try Self.task(of: recipe.data)
        let kinds: [Figure.Kind]
        switch task {
        case .choice:
            data = .choice(try MultipleChoiceExample.read(recipe.data, limit: recipe.limit))
            kinds = MultipleChoice.figureKinds
        case .text:
            data = .text(try TextEvaluation.read(recipe.data, limit: recipe.limit))
            kinds = TextReport.figureKinds
        case .head:
            let examples = try HeadEvaluationExample.read(recipe.data, limit: recipe.limit)
            data = .head(examples)
            kinds = HeadEvaluation.figureKinds(examples)
        case .answers, .auto:
            let examples = try EvaluationExample.read(
                recipe.data, limit: recipe.limit, instruction: recipe.instruction)
            data = .answers(examples)
            kinds = try Evaluation.figureKinds(
                examples, labels: recipe.labels.isEmpty ? nil : recipe.labels, metrics: recipe.metrics)
        }
        try Self.requireUse(of: recipe, task)
        for gate in recipe.gates { _ = try gate.kind(among: kinds) }
    }

    private static func name(of path: String) -> String {
        let file = path.split(separator: "/").last.map(String.init) ?? path
        return file.hasSuffix(".json") ? String(file.dropLast(5)) : file
    }

    /// What the first example of a file tells; anything but JSONL is texts.
    private static func task(of path: String) throws(MoruError) -> EvaluationRecipe.Task {
        if FileSystem.isDirectory(path) { return .text }
        // A name that tells nothing is JSONL
        let format = (try? DataFiles(DataSource(path)))?.files.first?.format ?? .jsonl
        if format != .jsonl { return .text }
        var reader = try JSONLReader(path: path)
        guard let first = try reader.next()?.value else { return .answers }
        if MultipleChoiceExample.describes(first) { return .choice }
        let keys = Set(first.object?.keys ?? [])
        return keys.contains("text") && keys.isDisjoint(with: ["messages", "prompt", "label"]) ? .text : .answers
    }

    /// Refuses settings that a task does not look at, rather than pass them over.
    private static func requireUse(of recipe: EvaluationRecipe, _ task: EvaluationRecipe.Task) throws(MoruError) {
        guard [.choice, .text, .head].contains(task) else { return }
        let unused = [
            ("instruction", recipe.instruction != nil), ("labels", !recipe.labels.isEmpty),
            ("metrics", !recipe.metrics.isEmpty), ("window", recipe.windowLength != nil && task != .text),
        ].filter(\.1).map(\.0)
        guard unused.isEmpty else {
            let what = task == .choice ? "multiple choice" : task == .text ? "texts to read" : "for a model with a head"
            throw MoruError(
                .recipeValue, "\(recipe.data) is \(what), for which \(unused.joined(separator: ", ")) has no use",
                remedy: "leave it out")
        }
    }

    /// Evaluates the models.
    ///
    /// - Parameter progress: Told how far it is.
    /// - Throws: What loading and evaluating throw.
    public func run(progress: @escaping @Sendable (Progress) -> Void = { _ in }) async throws -> EvaluationComparison {
        var columns = saved.map { [$0] } ?? []
        var loaded: (name: String, generator: TextGenerator)?
        for entry in recipe.models {
            if case .head(let examples) = data {
                let model = try HeadedModel.load(try path(entry.model), adapter: entry.adapter)
                let report = try HeadEvaluation(model, examples).run {
                    progress(Progress(model: entry.name, done: $0.done, total: $0.total))
                }
                columns.append(EvaluationComparison.Column(entry.name, report, isGated: entry.isGated))
                continue
            }
            let generator: TextGenerator
            if let loaded, loaded.name == entry.model {
                generator = loaded.generator
            } else {
                // One model at a time is held
                loaded = nil
                generator = try TextGenerator(try load(entry.model))
                loaded = (entry.model, generator)
            }
            let adapter = try entry.adapter.map { try AdapterDirectory.load(from: $0, for: generator.pretrained.model) }
            let report = try await evaluate(generator, adapter) {
                progress(Progress(model: entry.name, done: $0.done, total: $0.total))
            }
            columns.append(EvaluationComparison.Column(entry.name, report, isGated: entry.isGated))
        }
        return try EvaluationComparison(columns, gates: recipe.gates)
    }

    private func evaluate(
        _ generator: TextGenerator, _ adapter: (any Adapter)?,
        _ progress: @escaping @Sendable (Evaluation.Progress) -> Void
    ) async throws -> any ScoredReport {
        switch data {
        case .answers(let examples):
            try await Evaluation(
                generator, examples, adapter: adapter, maximumTokens: recipe.maximumTokens,
                labels: recipe.labels.isEmpty ? nil : recipe.labels, metrics: recipe.metrics
            ).run(progress: progress)
        case .choice(let questions):
            try await MultipleChoice(generator, questions, adapter: adapter).run(progress: progress)
        case .text(let documents):
            try TextEvaluation(
                generator.pretrained, documents, adapter: adapter, windowLength: recipe.windowLength
            ).run(progress: progress)
        case .head: preconditionFailure("a head is evaluated without a generator")
        }
    }
}
