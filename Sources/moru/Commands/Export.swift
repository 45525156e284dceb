import ArgumentParser
import Foundation
import MoruBase
import MoruModels

/// `moru export`: a model in the layout of another program.
struct Export: ParsableCommand {
    /// What is written.
    enum Layout: String, ExpressibleByArgument, CaseIterable {
        case safetensors, gguf
    }

    static let configuration = CommandConfiguration(
        abstract: "Export a model as a Hugging Face directory or a GGUF file.",
        usage: "moru export <model> --format <format> --output <path>",
        discussion: """
            safetensors writes a directory that transformers loads; gguf writes a single
            file for llama.cpp and transformers, including tokenizer and chat template.
            Weights keep their format: quantised weights stay quantised in GGUF and become
            f32 in safetensors. --dtype changes this; `moru quantize` makes smaller files.
            What a format cannot express is refused with the reason.

            Examples:
              moru export smollm2-135m-instruct --format safetensors --output ./dir
              moru export ./my-model --format gguf --output my-model.gguf
              moru export ./my-model --adapter ./adapter --format gguf \\
                --dtype bf16 --output tuned.gguf --evaluate text.txt
            """)

    @OptionGroup var model: ModelArgument
    @Option(help: "The output format: safetensors or gguf.")
    var format: Layout
    @Option(help: ArgumentHelp("The directory or file to write.", valueName: "path"), completion: .file())
    var output: String
    @OptionGroup var stored: StoredWeights
    @Option(
        name: .customLong("adapter"),
        help: ArgumentHelp("An adapter to merge into the weights first; may be repeated.", valueName: "directory"))
    var adapters: [String] = []
    @OptionGroup var evaluation: LossOptions
    @Flag(name: .customLong("dry-run"), help: "Check everything and report what would be written, without writing it.")
    var isDryRun = false
    @OptionGroup var printing: OutputOptions

    func run() throws {
        Interruption.endsTidily()
        let loaded = try model.load()
        var parts: [AdapterMerge.Part] = []
        for path in adapters {
            parts.append(AdapterMerge.Part(try AdapterDirectory.load(from: path, for: loaded.model), name: path))
        }
        if !parts.isEmpty { try AdapterMerge(parts, into: loaded.model).apply(dtype: stored.dtype) }
        var report = JSONObject([
            ("model", .string(loaded.path)), ("output", .string(output)), ("format", .string(format.rawValue)),
            ("dry_run", .bool(isDryRun)),
        ])
        if format == .gguf {
            try OutputPath.requireFile(output, apart: [loaded.path])
            try GGUFExport(loaded, types: stored.dtype.map { .uniform($0) } ?? .original).finish(
                loaded, to: output, evaluation: evaluation, held: nil, isDryRun: isDryRun, json: printing.json,
                report: &report)
            return
        }
        try OutputPath.requireApart(output, from: [loaded.path], marker: "config.json")
        let bytes = stored.bytes(of: loaded)
        if !isDryRun { try loaded.save(to: output, dtype: stored.dtype) }
        let loss = isDryRun ? nil : try evaluation.loss(of: output, from: loaded, held: nil)
        report["bytes"] = .int(bytes)
        report["loss"] = loss?.json
        if printing.json { return Terminal.result(JSON.object(report).text(pretty: true)) }
        Terminal.result("\(output): \(ByteCount.text(bytes))\(isDryRun ? " would be written" : "")")
        if let loss { Terminal.result(loss.text) }
    }
}

extension OutputPath {
    /// Refuses a place for a file that is a directory or one of the inputs.
    static func requireFile(_ output: String, apart inputs: [String]) throws {
        if FileSystem.isDirectory(output) {
            throw MoruError(.fileUnwritable, "\(output) is a directory", remedy: "give --output the name of a file")
        }
        try requireApart(output, from: inputs, marker: nil)
    }
}
