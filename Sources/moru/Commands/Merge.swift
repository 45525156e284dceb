import ArgumentParser
import Foundation
import MoruBase
import MoruModels
import MoruNN
import MoruTensor

/// `moru merge`: adapters into their base, or models into one.
struct Merge: ParsableCommand {
    /// How whole models are merged.
    enum Method: String, ExpressibleByArgument, CaseIterable {
        case linear, slerp, ties
    }

    static let configuration = CommandConfiguration(
        abstract: "Merge adapters into their base model, or several models into one.",
        usage: """
            moru merge <model> --adapter <directory>... --output <directory>
            moru merge <model> --with <model>... --method <name> --output <dir>
            """,
        discussion: """
            An adapter (LoRA, rsLoRA, DoRA, (IA)3) becomes part of the weights: the result
            answers like the base with the adapter. Several adapters are added up, each
            with its --weight. Prompt and prefix tuning change no weights and cannot be
            merged.

            Models tuned from the same base are merged with
              slerp   between two, along the arc between their weights
              ties    the largest changes of each, their signs elected (the first
                      model is the base they were tuned from)
              linear  a weighted sum of their differences from the first

            Examples:
              moru merge smollm2-135m-instruct \\
                --adapter runs/customer-feedback/adapter --output ./feedback
              moru merge ./base --adapter ./polite --weight 0.7 \\
                --adapter ./brief --weight 0.3 --output ./both --dtype bf16
              moru merge ./a --with ./b --method slerp --t 0.4 --output ./ab
              moru merge ./base --with ./a --with ./b --method ties \\
                --density 0.2 --output ./ab --dry-run
            """)

    @OptionGroup var model: ModelArgument
    @Option(
        name: .customLong("adapter"),
        help: ArgumentHelp("An adapter in PEFT's layout; may be repeated.", valueName: "directory"))
    var adapters: [String] = []
    @Option(
        name: .customLong("with"), help: ArgumentHelp("A model to merge with; may be repeated.", valueName: "model"))
    var models: [String] = []
    @Option(
        name: .customLong("weight"), parsing: .unconditionalSingleValue,
        help: "The weight of each adapter or model, in order. Default: 1 each; for linear, equal shares.")
    var weights: [Float] = []
    @Option(help: "How to merge the models: \(Method.allCases.map(\.rawValue).joined(separator: ", ")).")
    var method: Method?
    @Option(name: .customLong("t"), help: "For slerp: the position between the models; 0 is the first, 1 the second.")
    var place: Float?
    @Option(help: "For ties: the fraction of each tensor's changes to keep. Default: 0.2.")
    var density: Float?
    @Option(name: .customLong("lambda"), help: "For ties: the factor for the merged changes. Default: 1.")
    var scale: Float?
    @Flag(name: .customLong("ignore-tokenizers"), help: "Merge models with other tokenizers, keeping the first's.")
    var ignoresTokenizers = false
    @Option(
        help: ArgumentHelp("The output directory of the merged model.", valueName: "directory"), completion: .directory)
    var output: String
    @OptionGroup var stored: StoredWeights
    @Flag(name: .customLong("dry-run"), help: "Check everything and report what would be done, without doing it.")
    var isDryRun = false
    @OptionGroup var printing: OutputOptions

    func validate() throws {
        if adapters.isEmpty == models.isEmpty { throw ValidationError("Name adapters (--adapter) or models (--with).") }
        let count = adapters.count + models.count
        if !weights.isEmpty, weights.count != count {
            throw ValidationError("\(weights.count) of --weight for \(count) adapters or models: give one for each.")
        }
        if models.isEmpty, method != nil || ignoresTokenizers {
            throw ValidationError("--method and --ignore-tokenizers are for models (--with).")
        }
        if !models.isEmpty, method == nil { throw ValidationError("Say how models are merged with --method.") }
        if (method == .slerp) != (place != nil) { throw ValidationError("SLERP needs --t, other methods know none.") }
        if method == .slerp, !weights.isEmpty { throw ValidationError("SLERP knows no --weight, only --t.") }
        if method != .ties, density != nil || scale != nil {
            throw ValidationError("--density and --lambda are for --method ties.")
        }
    }

    func run() throws {
        Interruption.endsTidily()
        let base = try model.load()
        try OutputPath.requireApart(output, from: [base.path] + models, marker: "config.json")
        let line = ProgressLine("merging", unit: adapters.isEmpty ? "tensors" : "layers")
        defer { line.finish() }
        var report = JSONObject([("model", .string(base.path)), ("output", .string(output))])
        if adapters.isEmpty {
            let merge = try modelMerge(base)
            report["method"] = .string(method?.rawValue ?? "")
            report["tensors"] = .int(merge.tensorCount)
            report["notes"] = .array(merge.notes.map { .string($0) })
            if !isDryRun { try merge.apply(dtype: stored.dtype) { line.update($0, of: merge.tensorCount) } }
        } else {
            let merge = try adapterMerge(base)
            report["adapters"] = .array(
                merge.parts.map { part in
                    [
                        "path": .string(part.name), "type": part.adapter.peftConfiguration["peft_type"] ?? .null,
                        "weight": .shortest(part.weight), "layers": .int(part.adapter.layers.count),
                    ]
                })
            report["layers"] = .int(merge.layers.count)
            if !isDryRun { try merge.apply(dtype: stored.dtype) { line.update($0, of: merge.layers.count) } }
        }
        line.finish()
        report["bytes"] = .int(stored.bytes(of: base))
        report["dry_run"] = .bool(isDryRun)
        if !isDryRun { try base.save(to: output, dtype: stored.dtype) }
        Terminal.result(printing.json ? JSON.object(report).text(pretty: true) : Self.text(report))
    }

    private func adapterMerge(_ base: PretrainedModel) throws -> AdapterMerge {
        var parts: [AdapterMerge.Part] = []
        for (index, path) in adapters.enumerated() {
            parts.append(
                AdapterMerge.Part(
                    try AdapterDirectory.load(from: path, for: base.model),
                    weight: weights.isEmpty ? 1 : weights[index], name: path))
        }
        return try AdapterMerge(parts, into: base.model)
    }

    private func modelMerge(_ base: PretrainedModel) throws -> ModelMerge {
        let usual = method == .linear ? 1 / Float(models.count + 1) : 1
        var parts: [ModelMerge.Part] = []
        for (index, name) in models.enumerated() {
            parts.append(
                ModelMerge.Part(try ModelArgument.load(name), weight: weights.isEmpty ? usual : weights[index]))
        }
        let how: ModelMergeMethod =
            switch method {
            case .slerp: .slerp(place ?? 0.5)
            case .ties: .ties(density: density ?? 0.2, scale: scale ?? 1)
            case .linear, nil: .linear
            }
        return try ModelMerge(parts, into: base, how, ignoringTokenizers: ignoresTokenizers)
    }

    private static func text(_ report: JSONObject) -> String {
        let report = JSON.object(report)
        var lines: [String] = []
        for adapter in report["adapters"]?.array ?? [] {
            lines.append(
                "\(adapter["path"]?.string ?? ""): \(adapter["type"]?.string ?? "") on "
                    + "\(adapter["layers"]?.int ?? 0) layers, weight \(adapter["weight"]?.text() ?? "1")")
        }
        if let method = report["method"]?.string {
            lines.append("\(method) over \(report["tensors"]?.int ?? 0) tensors")
        }
        lines += (report["notes"]?.array ?? []).compactMap(\.string).map { "note: \($0)" }
        let isDryRun = report["dry_run"] == true
        lines.append(
            "\(report["output"]?.string ?? ""): \(ByteCount.text(report["bytes"]?.int ?? 0))"
                + (isDryRun ? " would be written" : ""))
        return lines.joined(separator: "\n")
    }
}

/// Where a command writes a model or file.
enum OutputPath {
    /// Refuses a place that is one of the inputs, or that holds something else than what is written.
    static func requireApart(_ output: String, from inputs: [String], marker: String?) throws {
        func canonical(_ path: String) -> String { URL(fileURLWithPath: path).resolvingSymlinksInPath().path }
        if inputs.contains(where: { canonical($0) == canonical(output) }) {
            throw MoruError(.directoryOccupied, "\(output) is what is read", remedy: "name another place with --output")
        }
        guard let marker, FileSystem.exists(output), !FileSystem.exists("\(output)/\(marker)") else { return }
        guard FileSystem.isDirectory(output), try FileSystem.list(output).isEmpty else {
            throw MoruError(
                .directoryOccupied, "\(output) exists and has no \(marker): writing would replace it",
                remedy: "name a new directory, or empty this one")
        }
    }
}
