// Tune a model as a recipe says, then measure it. Run with: swift run TuneAndEvaluate MODEL RECIPE DATA
// snippet.hide
let arguments = CommandLine.arguments
guard arguments.count == 4 else { throw MoruError(.fileNotFound, "name a model, a recipe and a data file") }
let (modelPath, recipePath, dataPath) = (arguments[1], arguments[2], arguments[3])
import MoruBase
// snippet.show
import MoruEngine
import MoruModels
import MoruNN
import MoruTraining
import MoruTrust

let model = try PretrainedModel.load(modelPath)
var tuning = Tuning(try Recipe(file: recipePath), model: model)
tuning.existingRun = .resume
let result = try tuning.run { event in print(event.json.text()) }

let adapter = try LoRAAdapter.load(from: result.directory, for: model.model)
let examples = try EvaluationExample.read(dataPath)
let report = try await Evaluation(TextGenerator(model), examples, adapter: adapter).run()
for label in report.labels { print(label.name, label.accuracy, label.macroF1) }
print("exact match", report.exactMatch)
