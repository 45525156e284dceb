// Load a model and stream its answer. Run with: swift run Generate MODEL 'PROMPT'
// snippet.hide
let path = CommandLine.arguments.count > 1 ? CommandLine.arguments[1] : "models/SmolLM2-135M-Instruct.Q4_1.gguf"
let question = CommandLine.arguments.count > 2 ? CommandLine.arguments[2] : "What is an anvil?"
// snippet.show
import MoruEngine
import MoruModels
import MoruText

let generator = try TextGenerator(PretrainedModel.load(path))
let messages = [ChatMessage(role: "user", content: question)]
for try await event in generator.stream(.chat(messages), GenerationOptions(maximumTokens: 100)) {
    if case .text(let text) = event { print(text, terminator: "") }
}
print()
