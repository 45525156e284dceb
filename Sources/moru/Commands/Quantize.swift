import ArgumentParser
import Foundation
import MoruBase
import MoruModels
import MoruTrust

/// `moru quantize`: a smaller GGUF file of a model.
struct Quantize: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Quantise a model into a smaller GGUF file, with fewer bits per weight.",
        usage: "moru quantize <model> --type <type> --output <file>",
        discussion: """
            Types: \(StorageTypes.all.map(\.name).prefix(9).joined(separator: ", ")),
            \(StorageTypes.all.map(\.name).dropFirst(9).joined(separator: ", ")).
            Q4_K_M is the usual choice. Types with _M and _S spend more bits on the tensors
            that matter most; every type keeps the output projection in at least 6 bits.
            --dry-run shows what would happen to each tensor.

            --calibration runs texts through the model and weights errors by the size of
            the inputs they meet; use texts like those that the model will see. --evaluate
            measures the loss of quality: perplexity before and after, the divergence of
            the next-token distribution, and how often the likeliest token stays the same.
            With --calibration alone, the last tenth of its texts is held out for this.

            Examples:
              moru quantize smollm2-135m-instruct --type Q4_K_M --output small.gguf
              moru quantize ./my-model --type Q4_K_M --output my.gguf --dry-run
              moru quantize ./my-model --type Q4_0 --output my.gguf \\
                --calibration texts.txt --evaluate other.txt --json
            """)

    @OptionGroup var model: ModelArgument
    @Option(help: ArgumentHelp("The format of the weights; see above.", valueName: "type"))
    var type: StorageTypes
    @Option(
        help: ArgumentHelp("The output file.", valueName: "file"), completion: .file(extensions: ["gguf"]))
    var output: String
    @Option(
        help: ArgumentHelp(
            "Texts for calibration: they determine how much each weight's error matters.", valueName: "file"),
        completion: .file())
    var calibration: String?
    @Option(
        name: .customLong("calibration-tokens"), help: "The maximum number of their tokens to use.")
    var calibrationTokens = 65_536
    @Option(
        help: ArgumentHelp("An importance matrix written by llama.cpp or --save-imatrix.", valueName: "file"),
        completion: .file(extensions: ["gguf"]))
    var imatrix: String?
    @Option(
        name: .customLong("save-imatrix"),
        help: ArgumentHelp("Write the importance matrix computed by --calibration to this file.", valueName: "file"),
        completion: .file())
    var savedMatrix: String?
    @OptionGroup var evaluation: LossOptions
    @Flag(name: .customLong("dry-run"), help: "Show what would happen to each tensor, without writing anything.")
    var isDryRun = false
    @OptionGroup var printing: OutputOptions

    func validate() throws {
        if calibration != nil, imatrix != nil { throw ValidationError("Give --calibration or --imatrix, not both.") }
        if savedMatrix != nil, calibration == nil { throw ValidationError("--save-imatrix needs --calibration.") }
        if calibrationTokens < 2 { throw ValidationError("--calibration-tokens must be at least 2.") }
    }

    func run() throws {
        Interruption.endsTidily()
        let loaded = try model.load()
        try OutputPath.requireFile(output, apart: [loaded.path])
        var export = try GGUFExport(loaded, types: type)
        var held: TokenWindows?
        var report = JSONObject([
            ("model", .string(loaded.path)), ("output", .string(output)), ("type", .string(type.name)),
            ("dry_run", .bool(isDryRun)),
        ])
        if let calibration {
            let windows = try TokenWindows(
                FileSystem.readText(calibration), for: loaded, maximumTokens: calibrationTokens, source: calibration)
            // What the errors were weighed by is no measure of them
            let kept = evaluation.evaluate == nil && windows.windows.count > 1 ? max(1, windows.windows.count / 10) : 0
            held = kept > 0 ? TokenWindows(windows: Array(windows.windows.suffix(kept)), length: windows.length) : nil
            if !isDryRun {
                let line = ProgressLine("calibrating", unit: "windows")
                defer { line.finish() }
                let used = Array(windows.windows.dropLast(kept))
                let found = try Calibration(of: loaded.model, on: used) { line.update($0, of: used.count) }
                line.finish()
                report["calibration_tokens"] = .int(found.tokens)
                export.importance = found.means
                if let savedMatrix {
                    try found.write(to: savedMatrix, for: export, texts: calibration, windowTokens: windows.length)
                }
            }
        } else if let imatrix {
            export.importance = try Calibration(file: imatrix, for: export).means
        }
        try export.finish(
            loaded, to: output, evaluation: evaluation, held: held, isDryRun: isDryRun, json: printing.json,
            report: &report)
    }
}

extension StorageTypes: ExpressibleByArgument {
    /// The type of a name, in any case.
    public init?(argument: String) { self.init(name: argument) }
    /// The names.
    public static var allValueStrings: [String] { all.map(\.name) }
}

/// How what is lost is measured.
struct LossOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp("A text on which to measure the loss of quality.", valueName: "file"), completion: .file())
    var evaluate: String?
    @Option(name: .customLong("evaluate-tokens"), help: "The maximum number of its tokens to use.")
    var tokens = 4096

    func validate() throws {
        if tokens < 2 { throw ValidationError("--evaluate-tokens must be at least 2.") }
    }

    /// What the file at `path` loses against the model it was made of; nil where nothing was asked for.
    func loss(of path: String, from model: PretrainedModel, held: TokenWindows?) throws -> ModelDifference? {
        var windows = held
        if let evaluate {
            windows = try TokenWindows(
                FileSystem.readText(evaluate), for: model, maximumTokens: tokens, source: evaluate)
        }
        guard let windows else { return nil }
        let line = ProgressLine("measuring", unit: "windows")
        defer { line.finish() }
        return try ModelDifference(
            of: PretrainedModel.load(path).model, from: model.model, on: windows.windows
        ) { line.update($0, of: windows.windows.count) }
    }
}

extension GGUFExport {
    /// Writes the file and prints what was done, as `quantize` and `export` share it.
    func finish(
        _ model: PretrainedModel, to output: String, evaluation: LossOptions, held: TokenWindows?, isDryRun: Bool,
        json: Bool, report: inout JSONObject
    ) throws {
        let matrices = tensors.filter { $0.dtype.isQuantized && $0.dtype != .q8_0 }
        let unweighed = importance.isEmpty ? [] : matrices.filter { !$0.paths.contains { importance[$0] != nil } }
        if !isDryRun {
            let line = ProgressLine("writing", unit: "tensors")
            defer { line.finish() }
            try write(to: output) { line.update($0, of: tensors.count) }
        }
        let loss = isDryRun ? nil : try evaluation.loss(of: output, from: model, held: held)
        report["bytes"] = .int(byteCount)
        report["bits_per_weight"] = .double(
            Double(byteCount) * 8 / Double(max(1, tensors.reduce(0) { $0 + $1.shape.reduce(1, *) })))
        report["tensors"] = .array(tensors.map(\.json))
        report["notes"] = .array(notes.map { .string($0) })
        report["without_importance"] = .array(unweighed.map { .string($0.name) })
        report["loss"] = loss?.json
        if json { return Terminal.result(JSON.object(report).text(pretty: true)) }
        var parts: [String] = []
        if isDryRun {
            var table = Table(["tensor", "shape", "from", "to", ""], [.left, .left, .left, .left, .left])
            for tensor in tensors {
                table.add(
                    tensor.name, tensor.shape.map(String.init).joined(separator: " x "), tensor.source.ggufName,
                    tensor.dtype.ggufName, tensor.deviation?.description ?? "")
            }
            parts.append(table.text)
        }
        parts.append(summary(of: output, isDryRun: isDryRun))
        if !unweighed.isEmpty {
            parts.append("without calibration: \(unweighed.map(\.name).joined(separator: ", "))")
        }
        parts += notes.map { "note: \($0)" }
        if let loss { parts.append(loss.text) }
        Terminal.result(parts.joined(separator: "\n"))
    }

    private func summary(of output: String, isDryRun: Bool) -> String {
        var counts: [String: Int] = [:]
        var fallbacks: [String: Int] = [:]
        for tensor in tensors {
            counts[tensor.dtype.ggufName, default: 0] += 1
            if let deviation = tensor.deviation, case .rowLength = deviation {
                fallbacks["\(tensor.dtype.ggufName) (\(deviation))", default: 0] += 1
            }
        }
        let kinds = counts.sorted { ($0.value, $1.key) > ($1.value, $0.key) }.map { "\($0.value) \($0.key)" }
        var lines = [
            "\(output): \(ByteCount.text(byteCount))\(isDryRun ? " would be written" : ""), "
                + kinds.joined(separator: ", ")
        ]
        for (what, count) in fallbacks.sorted(by: { $0.key < $1.key }) {
            lines.append("\(count) \(count == 1 ? "tensor falls" : "tensors fall") back to \(what)")
        }
        return lines.joined(separator: "\n")
    }
}

extension GGUFExport.PlannedTensor {
    fileprivate var json: JSON {
        [
            "name": .string(name), "shape": .array(shape.map { .int($0) }), "from": .string(source.ggufName),
            "to": .string(dtype.ggufName), "reason": deviation.map { .string($0.description) } ?? .null,
        ]
    }
}

extension ModelDifference {
    /// The figures for people.
    var text: String {
        "perplexity \(Format.fixed(referencePerplexity, 3)) before, \(Format.fixed(perplexity, 3)) after "
            + "(\(perplexity >= referencePerplexity ? "+" : "−")"
            + "\(Format.fixed(abs(perplexity / referencePerplexity - 1) * 100, 2)) %), over \(tokens) tokens\n"
            + "KL divergence \(Format.fixed(divergence, 5)) nats, same likeliest token \(Format.percent(topAgreement))"
    }
}
