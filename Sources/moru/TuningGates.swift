import MoruBase
import MoruTraining
import MoruTrust

/// What must hold of a tuned model: the gates in the evaluation section of a recipe.
struct TuningGates {
    private let recipe: Recipe
    private let gates: [Gate]

    /// Reads the gates of a recipe, and refuses those that its evaluation will not be able to tell; nil where there are
    /// none.
    init?(_ recipe: Recipe) throws {
        guard !recipe.evaluation.gates.isEmpty else { return nil }
        guard recipe.objective != .embedding else {
            throw MoruError(
                .recipeValue, "evaluation.gates is set, but nothing measures vectors yet", remedy: "leave it out")
        }
        self.recipe = recipe
        gates = try recipe.evaluation.gates.map { try Gate($0) }
        _ = try run(of: [EvaluationRecipe.Model(model: recipe.model)])
    }

    private func run(of models: [EvaluationRecipe.Model]) throws -> EvaluationRun {
        try EvaluationRun(evaluation(of: models), path: ModelArgument.path) { try ModelArgument.load($0) }
    }

    private func evaluation(of models: [EvaluationRecipe.Model]) -> EvaluationRecipe {
        var evaluation = EvaluationRecipe(data: recipe.evaluation.data ?? "", models: models)
        evaluation.task = recipe.objective.learnsHead ? .head : .auto
        if !recipe.objective.learnsHead {
            evaluation.labels = recipe.evaluation.labels
            evaluation.instruction = recipe.data.classification.instruction
        }
        evaluation.maximumTokens = recipe.evaluation.maxTokens
        evaluation.gates = gates
        return evaluation
    }

    /// Measures a tuned model, and the model before where a gate is about the change; the page and the figures go into
    /// the run's directory.
    func measure(_ result: TuningResult) async throws -> EvaluationComparison {
        let tuned =
            result.isAdapter
            ? EvaluationRecipe.Model(name: "tuned", model: recipe.model, adapter: result.directory)
            : EvaluationRecipe.Model(name: "tuned", model: result.directory)
        // A model without a head has nothing to compare with
        let comparesBase = gates.contains(where: \.isChange) && !recipe.objective.learnsHead
        let models =
            (comparesBase ? [EvaluationRecipe.Model(name: "base", model: recipe.model, isGated: false)] : []) + [tuned]
        let line = ProgressLine("evaluating", unit: "examples")
        defer { line.finish() }
        let comparison = try await run(of: models).run { progress in
            line.update(progress.done, of: progress.total, detail: progress.model)
        }
        let page = recipe.output + "/evaluation.html"
        try FileSystem.write(EvaluationPage(comparison, evaluation(of: models)).html.utf8, to: page)
        try FileSystem.write(
            comparison.json(includingOutcomes: true).text(pretty: true).utf8, to: recipe.output + "/evaluation.json")
        return comparison
    }
}
