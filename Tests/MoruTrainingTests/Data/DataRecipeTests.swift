import MoruBase
import MoruTestKit
import Testing

@testable import MoruTraining

/// The keys of a recipe that say what is learnt from.
@Suite
struct DataRecipeTests {
    private func recipe(_ data: String) throws -> Recipe {
        try Recipe(yaml: "model: tiny\n" + data, source: "recipe.yaml", directory: "/base")
    }

    @Test func severalSourcesWithWeights() throws {
        let recipe = try recipe(
            "data: {train: [a.jsonl, ../b/*.csv, /c], weights: [2, 1, 0.5], epoch_end: smallest, format: instruction}")
        #expect(
            try recipe.data.trainingSources() == [
                DataSource("/base/a.jsonl", shape: .instruction, weight: 2),
                DataSource("/b/*.csv", shape: .instruction, weight: 1),
                DataSource("/c", shape: .instruction, weight: 0.5),
            ])
        #expect(recipe.data.epochEnd == .smallest)
        #expect(try Recipe(yaml: recipe.yaml, source: "written") == recipe)
    }

    @Test func oneSourceAndWhatIsLearnt() throws {
        let recipe = try recipe(
            "data: {train: a.csv, train_on: [user, assistant], instruction: 'Judge: ', labels: [good, bad], "
                + "fields: [text=review, label=stars]}")
        #expect(try recipe.data.trainingSources().map(\.path) == ["/base/a.csv"])
        #expect(recipe.data.learned == LearnedRoles(["user", "assistant"]))
        #expect(try recipe.data.trainingSources()[0].classification.labels == ["good", "bad"])
        #expect(try recipe.data.trainingSources()[0].fields == ["text": "review", "label": "stars"])
        #expect(try Recipe(yaml: recipe.yaml, source: "written") == recipe)
        #expect(try self.recipe("data: {train: a, train_on: [all]}").data.learned == .all)
        #expect(try self.recipe("data: {train: a}").data.learned == .assistant)
    }

    @Test(arguments: [
        ("data: {train: [a, b], weights: [1, 0]}", "data.weights is", "above 0"),
        ("data: {train: [a, b], weights: 1}", "data.weights is 1", "one for each source"),
        ("data: {train: []}", "data.train is []", "a list of paths"),
        ("data: {train: a, epoch_end: larges}", "data.epoch_end is larges", "did you mean largest?"),
        ("data: {train: a, fields: [prompt]}", "data.fields is [prompt]", "prompt=question"),
        ("data: {train: a, train_on: []}", "data.train_on is []", "at least one"),
    ])
    func badValuesAreRefused(data: String, message: String, remedy: String) {
        expectError(.recipeValue, "recipe.yaml:2", message, remedy) { _ = try recipe(data) }
    }

    @Test func everySourceNeedsAWeight() throws {
        let recipe = try recipe("data: {train: [a, b], weights: [1]}")
        expectError(.recipeValue, "data.weights has 1 numbers, data.train 2 sources") {
            _ = try recipe.data.trainingSources()
        }
    }

    /// A run over a JSONL and a CSV file, of which the user's messages are learnt.
    @Test func aRunMixesSources() throws {
        let folder = try TemporaryFolder()
        let chat = #"{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}"#
        var recipe = Recipe(
            model: "tiny", output: folder.path + "/run",
            data: DataSettings(train: try folder.write(chat + "\n", to: "a.jsonl")))
        recipe.data.additional = [try folder.write("text,label\nfine,good\nawful,bad\n", to: "b.csv")]
        recipe.data.weights = [3, 1]
        recipe.data.trainOn = ["user"]
        recipe.training.length = .epochs(1)
        recipe.training.batchSize = 4
        var start: TrainingEvent.Start?
        _ = try Tuning(recipe, model: TestModels.tinyPretrained()).run { event in
            if case .started(let event) = event { start = event }
        }
        // each of the two labelled texts once, the conversation six times; learnt are the texts and their ends
        #expect(start?.trainingExamples == 8 && start?.totalSteps == 2)
        #expect(start?.targetsPerEpoch == 6 * 3 + 5 + 6)
    }
}
