import ArgumentParser
import Foundation
import MoruBase
import MoruEngine
import MoruText

/// `moru generate`: one answer.
struct Generate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Answer one prompt.",
        usage: "moru generate <model> --prompt <prompt> [<options>]",
        discussion: """
            The prompt becomes a user message in the model's chat template; with --raw the
            model continues the text itself. The answer is printed as it is generated. A
            schema, regular expression or grammar guarantees the form of the answer.

            Examples:
              moru generate smollm2-135m-instruct -p 'Name three primary colours.'
              moru generate smollm2-135m-instruct -p 'The anvil is' --raw --json
              moru generate smollm2-135m-instruct -p 'Hi' --adapter ./adapter --seed 7
              moru generate smollm2-135m-instruct -p 'A colour?' --regex '[a-z]+'
            """)

    @OptionGroup var model: ModelArgument
    @Option(
        name: [.customShort("p"), .long], parsing: .unconditional,
        help: "The prompt; - reads it from standard input.")
    var prompt: String
    @Option(parsing: .unconditional, help: "The system message.")
    var system: String?
    @Flag(help: "Do not apply the chat template.")
    var raw = false
    @Option(name: .customLong("max-tokens"), parsing: .unconditional, help: "The maximum number of tokens to generate.")
    var maximumTokens: Int?
    @Option(parsing: .unconditionalSingleValue, help: "Stop before this text; may be repeated.")
    var stop: [String] = []
    @OptionGroup var structure: StructureOptions
    @OptionGroup var sampling: SamplingOptions
    @OptionGroup var adapter: AdapterOption
    @OptionGroup var engine: EngineOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if let maximumTokens, maximumTokens < 1 { throw ValidationError("--max-tokens must be at least 1.") }
        if raw, system != nil { throw ValidationError("--system needs the chat template, which --raw leaves out.") }
    }

    func run() async throws {
        let pretrained = try model.loadToGenerate()
        let text = prompt == "-" ? try Terminal.readInput() : prompt
        var messages = system.map { [ChatMessage(role: "system", content: $0)] } ?? []
        messages.append(ChatMessage(role: "user", content: text))
        var options = GenerationOptions(maximumTokens: maximumTokens, adapter: try adapter.load(for: pretrained))
        sampling.apply(to: &options)
        (options.stop, options.structure) = (stop, try structure.form())
        let generator = try TextGenerator(pretrained, configuration: engine.configuration)
        let input: Prompt = raw ? .text(text) : .chat(messages)
        guard !output.json else {
            let generated = try await generator.generate(input, options)
            Terminal.result(generated.json.text())
            return
        }
        for try await event in generator.stream(input, options) {
            switch event {
            case .text(let piece): Terminal.result(piece, terminator: "")
            case .finished(let reason, let usage):
                Terminal.result("")
                Terminal.talk(Terminal.paint(usage.summary(reason), .dim))
            default: break
            }
        }
    }
}

extension SamplingOptions {
    /// Puts what was given into the options; the rest is left to the model's own suggestion.
    func apply(to options: inout GenerationOptions) {
        options.temperature = temperature
        options.topK = topK
        options.topP = topP
        options.minP = minP
        options.repetitionPenalty = repetitionPenalty
        options.seed = seed
    }
}

extension GenerationUsage {
    /// What an answer took, for people.
    func summary(_ reason: FinishReason) -> String {
        let guesses = speculation.accepted > 0 ? ", \(speculation.accepted) of them guessed" : ""
        return "\(promptTokens) tokens read at \(Int(promptTokensPerSecond))/s, \(generatedTokens) written at "
            + "\(Int(generatedTokensPerSecond))/s\(guesses), ended by \(reason.name)"
    }
}

extension GeneratedText {
    /// The answer as `moru generate --json` prints it.
    var json: JSON {
        [
            "text": .string(text), "ids": .array(ids.map { .int(Int($0)) }),
            "finish_reason": .string(finishReason.name),
            "usage": [
                "prompt_tokens": .int(usage.promptTokens), "completion_tokens": .int(usage.generatedTokens),
                "total_tokens": .int(usage.promptTokens + usage.generatedTokens),
            ],
            "timings": [
                "queue_seconds": .double(usage.queueSeconds), "prefill_seconds": .double(usage.prefillSeconds),
                "decode_seconds": .double(usage.decodeSeconds),
                "prefill_tokens_per_second": .double(usage.promptTokensPerSecond),
                "decode_tokens_per_second": .double(usage.generatedTokensPerSecond),
            ],
            "speculation": [
                "proposed": .int(usage.speculation.proposed), "accepted": .int(usage.speculation.accepted),
            ],
        ]
    }
}
