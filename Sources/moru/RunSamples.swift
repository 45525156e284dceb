import MoruBase
import MoruEngine
import MoruModels

/// What a model makes of some beginnings of texts, before and after a run: `samples.json` of the run's directory.
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
        var result = RunSamples()
        let prompts = prompts.isEmpty ? usualPrompts : prompts
        for (prompt, text) in zip(prompts, try await write(model, prompts)) {
            result.samples.append(Sample(prompt: prompt, before: text))
        }
        return result
    }

    /// The same with what a model writes after it.
    func continued(by model: PretrainedModel) async throws -> RunSamples {
        var result = self
        for (index, text) in try await Self.write(model, samples.map(\.prompt)).enumerated() {
            result.samples[index].after = text
        }
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

    /// Writes the file.
    func write(to directory: String) throws {
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
