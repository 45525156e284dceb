import ArgumentParser
import Foundation
import MoruBase
import MoruModels
import MoruNN
import MoruStore
import MoruTensor

/// The model that a command works with.
struct ModelArgument: ParsableArguments {
    @Argument(help: "A model: a name that `moru models` lists, a directory, or a .gguf file.")
    var model: String

    /// Opens the model.
    func load() throws -> PretrainedModel { try Self.load(model) }

    /// Opens the model for a command that generates at once.
    func loadToGenerate() throws -> PretrainedModel {
        try PretrainedModel.load(try Self.path(of: model), packsAhead: true)
    }

    /// Opens the model that a name or path stands for.
    static func load(_ name: String) throws -> PretrainedModel {
        try PretrainedModel.load(try path(of: name))
    }

    /// Where the model lies that a name or path stands for.
    static func path(of name: String) throws -> String {
        let reference = try ModelReference(parsing: name)
        guard let path = try ModelStore().locate(reference) else {
            throw MoruError(.modelNotFound, "the model \(name) is not here", remedy: "fetch it with: moru pull \(name)")
        }
        return path
    }
}

/// How weights are stored that a command writes.
struct StoredWeights: ParsableArguments {
    enum Format: String, ExpressibleByArgument, CaseIterable {
        case f32, bf16, f16
    }

    @Option(
        name: .customLong("dtype"),
        help: "The weights' format. Default: unchanged, but quantised weights become f32 outside GGUF.")
    var format: Format?

    /// Nil for the format that the weights have.
    var dtype: DType? { format.flatMap { DType(rawValue: $0.rawValue) } }

    /// What a model's weights take outside GGUF, where none are quantised.
    func bytes(of model: PretrainedModel) -> Int {
        model.model.parameters.reduce(0) { sum, parameter in
            let kept = parameter.value.dtype
            return sum + parameter.value.count * (dtype ?? (kept.isQuantized ? .f32 : kept)).blockBytes
        }
    }
}

/// An adapter for one run of a command.
struct AdapterOption: ParsableArguments {
    @Option(help: ArgumentHelp("An adapter in PEFT's layout to use with the model.", valueName: "directory"))
    var adapter: String?

    /// Loads the adapter for a model; nil when none was named.
    func load(for model: PretrainedModel) throws -> (any Adapter)? {
        try adapter.map { try AdapterDirectory.load(from: $0, for: model.model) }
    }
}

/// How tokens are chosen.
struct SamplingOptions: ParsableArguments {
    @Option(
        parsing: .unconditional,
        help: "0 picks the likeliest token; higher values vary more. Default: the model's own, or 0.")
    var temperature: Float?
    @Option(name: .customLong("top-k"), parsing: .unconditional, help: "Sample among the likeliest K tokens.")
    var topK: Int?
    @Option(
        name: .customLong("top-p"), parsing: .unconditional,
        help: "Sample among the likeliest tokens that together have probability P.")
    var topP: Float?
    @Option(
        name: .customLong("min-p"), parsing: .unconditional,
        help: "Exclude tokens less likely than P times the likeliest.")
    var minP: Float?
    @Option(
        name: .customLong("repeat-penalty"), parsing: .unconditional,
        help: "Divide the logits of tokens already used; 1 turns this off.")
    var repetitionPenalty: Float?
    @Option(parsing: .unconditional, help: "The seed for sampling; the same seed gives the same text.")
    var seed: UInt64?
}

/// The way results are printed.
struct OutputOptions: ParsableArguments {
    @Flag(help: "Print JSON instead of text.")
    var json = false
}
