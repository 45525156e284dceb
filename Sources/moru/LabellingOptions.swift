import ArgumentParser
import MoruBase
import MoruModels
import MoruTraining

/// Texts that a head is shown, and where the answers go.
struct LabellingOptions: ParsableArguments {
    @Argument(help: "A model with a head, or its base if --adapter is given: a name or a directory.")
    var model: String
    @Argument(help: "The texts; by default, each line of standard input.")
    var texts: [String] = []
    @Option(help: ArgumentHelp("An adapter that includes the head.", valueName: "directory"))
    var adapter: String?
    @Option(
        help: ArgumentHelp("A file of records with a text each (JSONL, JSON, CSV or TSV).", valueName: "file"),
        completion: .file())
    var data: String?
    @Option(help: "The field of --data that holds the text.")
    var field = "text"
    @Option(
        name: .shortAndLong,
        help: ArgumentHelp("Write each record with its prediction to this JSONL file.", valueName: "file"),
        completion: .file())
    var output: String?
    @Flag(help: "Truncate texts that are too long for the model, instead of refusing them.")
    var truncate = false
    @Flag(help: "Print one line of JSON per text.")
    var json = false

    func validate() throws {
        if data != nil, !texts.isEmpty { throw ValidationError("Give either texts or --data.") }
    }

    /// Opens the model.
    func load() throws -> HeadedModel {
        try HeadedModel.load(try ModelArgument.path(of: model), adapter: adapter)
    }

    /// Goes through the texts in parts, with progress where there are many.
    ///
    /// - Parameters:
    ///   - predict: The predictions for some texts, as JSON.
    ///   - show: Prints a text with its prediction, where nothing else was asked for.
    func run<Prediction>(
        _ predict: ([String]) throws -> [Prediction], json: (Prediction) -> JSON,
        show: (_ item: TextRecords.Item, _ prediction: Prediction, _ isAlone: Bool) -> Void
    ) throws {
        let items = try TextRecords.read(texts, data: data, field: field)
        let progress = ProgressLine("predicting", unit: "texts")
        var lines: [UInt8] = []
        let step = 64
        for begin in stride(from: 0, to: items.count, by: step) {
            let part = Array(items[begin..<min(begin + step, items.count)])
            for (item, prediction) in zip(part, try predictions(part, predict)) {
                var record = item.record
                record["prediction"] = json(prediction)
                let line = JSON.object(record).text()
                if output != nil {
                    lines += Array((line + "\n").utf8)
                } else if self.json {
                    Terminal.result(line)
                } else {
                    show(item, prediction, items.count == 1)
                }
            }
            if items.count > step, output != nil { progress.update(begin + part.count, of: items.count) }
        }
        progress.finish()
        guard let output else { return }
        try FileSystem.write(lines, to: output)
        Terminal.talk("\(items.count) \(items.count == 1 ? "text" : "texts"), written to \(output)")
    }

    /// The predictions of a part; an error names the text that it is about.
    private func predictions<Prediction>(
        _ part: [TextRecords.Item], _ predict: ([String]) throws -> [Prediction]
    ) throws -> [Prediction] {
        do {
            return try predict(part.map(\.text))
        } catch let error as MoruError where error.code == .textTooLong || error.code == .textEmpty {
            for item in part {
                do { _ = try predict([item.text]) } catch let error as MoruError {
                    let remedy = error.code == .textTooLong ? "shorten it, or have it cut: --truncate" : error.remedy
                    throw MoruError(error.code, "\(item.place): \(error.message)", remedy: remedy)
                }
            }
            throw error
        }
    }
}

extension TextRecords {
    /// The texts of a command: those of a file, its arguments, or the lines of standard input.
    ///
    /// - Throws: ``MoruError/Code/textEmpty`` where there are none, or what reading the file throws.
    static func read(_ texts: [String], data: String?, field: String) throws -> [Item] {
        let items =
            if let data {
                try read(data, field: field)
            } else if texts.isEmpty || texts == ["-"] {
                lines(try Terminal.readInput(), path: "standard input")
            } else {
                texts.enumerated().map { Item($1, DataPlace(path: "text \($0 + 1)")) }
            }
        guard !items.isEmpty else {
            throw MoruError(.textEmpty, "there are no texts", remedy: "give some as arguments, or with --data FILE")
        }
        return items
    }
}
