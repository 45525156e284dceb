import MoruBase
import MoruTestKit
import Testing

/// Runs the code that README.md shows.
@Suite struct SnippetTests {
    @Test func generateStreamsAnAnswer() throws {
        let model = TestNeeds.temporaryPath("model")
        defer { FileSystem.remove(model) }
        try TestModels.writeTinyDirectory(model)
        let outcome = try BuiltProgram("Generate").run([model, "hello"])
        #expect(outcome.code == 0, "\(outcome.errors)")
        #expect(outcome.output.hasSuffix("\n"))
    }

    @Test func tuneAndEvaluateReports() throws {
        let folder = TestNeeds.temporaryPath("tune")
        defer { FileSystem.remove(folder) }
        try TestModels.writeTinyDirectory(folder + "/model")
        let data = (0..<4).map { #"{"prompt": "q\#($0)", "completion": "label: \#($0 % 2)"}"# }
        try FileSystem.write(data.joined(separator: "\n").utf8, to: folder + "/data.jsonl")
        let recipe = "model: ./model\ndata: {train: data.jsonl}\ntraining: {steps: 2, batch_size: 2}\n"
        try FileSystem.write(recipe.utf8, to: folder + "/recipe.yaml")
        let outcome = try BuiltProgram("TuneAndEvaluate")
            .run([folder + "/model", folder + "/recipe.yaml", folder + "/data.jsonl"])
        #expect(outcome.code == 0, "\(outcome.errors)")
        #expect(outcome.output.contains("exact match") && outcome.output.contains("label"))
    }
}
