import MoruBase
import MoruEngine
import MoruModels
import MoruNN
import MoruTraining
import MoruTrust

/// What a model makes of some prompts, before and after a run: `samples.json` of the run's directory.
struct RunSamples {
    private struct Sample {
        var prompt, before: String
        var after: String?
    }

    private static let file = "samples.json"
    private static let usualPrompts = ["The", "In the beginning", "This is"]
    private var samples: [Sample] = []

    var isEmpty: Bool { samples.isEmpty }

    /// What a run noted before it was interrupted; nothing where it begins anew.
    static func read(_ directory: String, resuming: Bool) throws -> RunSamples {
        var result = RunSamples()
        guard resuming, let json = try? JSON.parse(file: "\(directory)/\(file)") else { return result }
        for sample in json["samples"]?.array ?? [] {
            guard let prompt = sample["prompt"]?.string, let before = sample["before"]?.string else { continue }
            result.samples.append(Sample(prompt: prompt, before: before))
        }
        return result
    }

    /// What a model writes before the run.
    static func make(_ model: PretrainedModel, prompts: [String]) async throws -> RunSamples {
        let prompts = prompts.isEmpty ? usualPrompts : prompts
        return RunSamples(prompts, before: try await write(model, prompts))
    }

    private init() {}

    private init(_ prompts: [String], before texts: [String]) {
        samples = zip(prompts, texts).map { Sample(prompt: $0, before: $1) }
    }

    /// The same with what a model writes after it.
    func continued(by model: PretrainedModel) async throws -> RunSamples {
        with(after: try await Self.write(model, samples.map(\.prompt)))
    }

    private func with(after texts: [String]) -> RunSamples {
        var result = self
        for (index, text) in texts.enumerated() { result.samples[index].after = text }
        return result
    }

    private static func write(_ model: PretrainedModel, _ prompts: [String]) async throws -> [String] {
        let generator = try TextGenerator(model)
        var texts: [String] = []
        for prompt in prompts {
            var options = GenerationOptions(maximumTokens: 80)
            (options.temperature, options.topK, options.seed) = (0.8, 50, 1)
            texts.append(try await generator.generate(.text(prompt), options).text)
        }
        return texts
    }

    /// Writes the file; without samples there is none.
    func write(to directory: String) throws {
        if isEmpty { return FileSystem.remove("\(directory)/\(Self.file)") }
        let all = samples.map { sample -> JSON in
            var object = JSONObject([("prompt", .string(sample.prompt)), ("before", .string(sample.before))])
            if let after = sample.after { object["after"] = .string(after) }
            return .object(object)
        }
        let json: JSON = ["samples": .array(all)]
        try FileSystem.createDirectory(directory)
        try FileSystem.write((json.text(pretty: true) + "\n").utf8, to: "\(directory)/\(Self.file)")
    }
}

extension RunSamples {
    /// A prompt of a recipe's data, and what of it is shown.
    struct TuningPrompt {
        var shown: String
        var tokens: [Int32]

        /// The most that are asked, and the most examples that are looked at for them.
        private static let (count, reach) = (3, 64)

        /// The first prompts of the validation data, else of the training data; none where there is nothing to answer.
        static func read(_ recipe: Recipe, _ model: PretrainedModel) throws -> [TuningPrompt] {
            let data = recipe.data
            let source = try data.validation.map { data.source($0) } ?? data.trainingSources().first
            guard let source else { return [] }
            var reader = try ExampleReader(source, learned: data.learned)
            var prompts: [TuningPrompt] = []
            for _ in 0..<reach {
                guard prompts.count < count, let entry = try reader.next() else { break }
                let example =
                    switch entry.example {
                    case .single(let example): example
                    case .pair(let pair): pair.chosen
                    }
                if let prompt = try? TuningPrompt(EvaluationExample(example, place: "\(entry.place)"), model),
                    prompt.tokens.count + recipe.virtualTokens.count < model.model.facts.contextLength
                {
                    prompts.append(prompt)
                }
            }
            return prompts
        }

        private init(_ example: EvaluationExample, _ model: PretrainedModel) throws {
            switch (example.prompt, example.scoring) {
            case (.messages(let messages), .messages(_, let tools)):
                // An answer begins a line of its own
                (shown, tokens) = (example.question + "\n", try model.prompt(for: messages, tools: tools).tokens)
            case (.messages(let messages), _):
                (shown, tokens) = (example.question + "\n", try model.prompt(for: messages).tokens)
            case (.text(let text), _): (shown, tokens) = (text, model.tokenizer.encode(text))
            }
        }
    }

    /// What a base model answers before it is tuned.
    static func make(_ model: PretrainedModel, prompts: [TuningPrompt]) async throws -> RunSamples {
        guard !prompts.isEmpty else { return RunSamples() }
        return RunSamples(prompts.map(\.shown), before: try await answer(model, prompts, adapter: nil))
    }

    /// Whether these are the samples of some prompts.
    func answer(_ prompts: [TuningPrompt]) -> Bool { samples.map(\.prompt) == prompts.map(\.shown) }

    /// The same with what the tuned model answers.
    func continued(
        by model: PretrainedModel, adapter: (any Adapter)?, prompts: [TuningPrompt]
    ) async throws -> RunSamples {
        isEmpty ? self : with(after: try await Self.answer(model, prompts, adapter: adapter))
    }

    private static func answer(
        _ model: PretrainedModel, _ prompts: [TuningPrompt], adapter: (any Adapter)?
    ) async throws -> [String] {
        let options = GenerationOptions(temperature: 0, repetitionPenalty: 1, maximumTokens: 48, adapter: adapter)
        return try await TextGenerator(model).generateAll(prompts.map { (.tokens($0.tokens), options) }).map(\.text)
    }
}
