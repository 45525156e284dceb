import Foundation
import MoruBase

/// A run as one page of HTML that needs nothing else: no scripts, no fonts, nothing from elsewhere.
public struct RunReport {
    private let run: RunRecord

    /// Reads a run.
    ///
    /// - Throws: As ``RunRecord/init(_:)``.
    public init(_ directory: String) throws(MoruError) { run = try RunRecord(directory) }

    /// Writes `report.html` into a run's directory.
    ///
    /// - Returns: The file's path.
    /// - Throws: As ``RunRecord/init(_:)``, or what the file system throws.
    @discardableResult
    public static func write(_ directory: String) throws -> String {
        let report = try RunReport(directory)
        let path = report.run.path + "/report.html"
        try FileSystem.write(report.html.utf8, to: path)
        return path
    }

    /// The page.
    public var html: String {
        HTMLPage(
            title: "\(run.name) - Moru run",
            parts: [header, tiles, charts, samples, dataCard, notices, recipe, environment],
            footer: "Written by Moru. Losses are means over tokens, in nats."
        ).html
    }

    private func escaped(_ text: String) -> String { HTMLPage.escaped(text) }

    private func section(_ title: String, _ content: String) -> String { HTMLPage.section(title, content) }

    private var header: String {
        let words: [RunRecord.State: String] = [
            .finished: "complete", .stopped: "stopped, can go on", .open: "not complete",
        ]
        return HTMLPage.header(
            run.name, state: (words[run.state] ?? "", run.state.rawValue), run.began.map(HTMLPage.date) ?? "")
    }

    // MARK: Figures

    private var tiles: String {
        var tiles: [(value: String, name: String)] = []
        if let best = run.best {
            if let bits = best.others["bits_per_byte"] {
                tiles.append((String(format: "%.3f", bits), "bits per byte, held out"))
            }
            tiles.append((String(format: "%.3f", best.loss), "best held-out loss, step \(best.step)"))
        }
        if let last = run.steps.last { tiles.append((String(format: "%.3f", last.loss), "last training loss")) }
        tiles.append(("\(run.steps.last?.step ?? 0)", "of \(run.totalSteps) steps"))
        tiles.append((HTMLPage.duration(run.seconds), "in all"))
        if let count = run.start?["trainable_parameters"]?.int {
            tiles.append((LineChart.brief(Double(count)), "parameters that moved"))
        }
        if let rate = run.medianInputsPerSecond { tiles.append((LineChart.brief(rate), "tokens a second, median")) }
        let peak = run.steps.map(\.peakMemoryBytes).max() ?? 0
        if peak > 0 { tiles.append(("\(peak / 1_000_000) MB", "most memory of tensors")) }
        return HTMLPage.tiles(tiles)
    }

    private var charts: String {
        func points(_ value: (RunRecord.Step) -> Double) -> [(x: Double, y: Double)] {
            run.steps.map { (Double($0.step), value($0)) }
        }
        let losses = points { $0.loss }
        var lossLines = [LineChart.Line(name: "each step", points: losses, style: "faint")]
        if losses.count > 20 {
            lossLines.append(LineChart.Line(name: "smoothed", points: Self.smoothed(losses), style: "first"))
        } else {
            lossLines[0].style = "first"
        }
        let held = run.validations.map { (x: Double($0.step), y: $0.loss) }
        if !held.isEmpty {
            lossLines.append(LineChart.Line(name: "held out", points: held, style: "second", hasDots: true))
        }
        var charts = [LineChart(title: "Loss", xName: "step", lines: lossLines)]
        for name in Set(run.validations.flatMap(\.others.keys)).sorted() {
            let points = run.validations.compactMap { validation in
                validation.others[name].map { (x: Double(validation.step), y: $0) }
            }
            charts.append(
                LineChart(
                    title: "Held out: " + name.replacing("_", with: " "), xName: "step",
                    lines: [LineChart.Line(name: name, points: points, style: "second", hasDots: true)]))
        }
        charts.append(
            LineChart(
                title: "Learning rate", xName: "step",
                lines: [LineChart.Line(name: "rate", points: points { $0.learningRate }, style: "third")],
                format: { $0 == 0 ? "0" : String(format: "%.1e", $0).replacing("e-0", with: "e-") },
                beginsAtZero: true))
        charts.append(
            LineChart(
                title: "Tokens a second", xName: "step",
                lines: [LineChart.Line(name: "rate", points: points { $0.inputsPerSecond }, style: "first")],
                beginsAtZero: true))
        charts.append(
            LineChart(
                title: "Norm of the gradients", xName: "step",
                lines: [LineChart.Line(name: "norm", points: points { $0.gradientNorm }, style: "first")],
                beginsAtZero: true))
        return HTMLPage.charts(charts)
    }

    /// An exponential moving average, unbiased at its beginning.
    private static func smoothed(_ points: [(x: Double, y: Double)]) -> [(x: Double, y: Double)] {
        let share = max(0.02, 2 / Double(points.count / 10 + 1))
        var (sum, weight) = (0.0, 0.0)
        return points.map { point in
            sum += share * (point.y - sum)
            weight += share * (1 - weight)
            return (point.x, sum / weight)
        }
    }

    // MARK: Texts

    private var samples: String {
        guard let json = try? JSON.parse(file: run.path + "/samples.json"), let all = json["samples"]?.array else {
            return ""
        }
        let entries = all.map { sample -> String in
            let prompt = sample["prompt"]?.string ?? ""
            func text(_ key: String, _ title: String) -> String {
                guard let text = sample[key]?.string else { return "" }
                return
                    "<div><h4>\(title)</h4><p class=\"text\"><mark>\(escaped(prompt))</mark>\(escaped(text))</p></div>"
            }
            return "<div class=\"pair\">\(text("before", "Before"))\(text("after", "After"))</div>"
        }
        return section("Samples", entries.joined(separator: "\n"))
    }

    private var dataCard: String {
        var rows: [(name: String, text: String)] = []
        func count(_ json: JSON?) -> String { json?.int.map { Self.grouped($0) } ?? "?" }
        for (name, title) in [("train", "Training data"), ("validation", "Held-out data")] {
            guard let manifest = try? JSON.parse(file: "\(run.path)/data/\(name)/manifest.json") else { continue }
            for source in manifest["sources"]?.array ?? [] {
                rows.append(
                    (
                        title,
                        "\(source["path"]?.string ?? "?"): \(count(source["documents"])) documents, "
                            + "\(count(source["bytes"])) bytes, \(count(source["tokens"])) tokens"
                    ))
            }
            if name == "train" { rows.append(("Vocabulary", "\(count(manifest["vocabulary_size"])) ids")) }
        }
        if let start = run.start {
            for (key, title) in [
                ("training_examples", "Examples to learn from"), ("validation_examples", "Examples held out"),
                ("inputs_per_epoch", "Tokens in one pass"), ("targets_per_epoch", "Tokens trained on in one pass"),
                ("steps_per_epoch", "Steps of one pass"),
            ] where start[key] != nil { rows.append((title, count(start[key]))) }
        }
        // Where there are no shards, what the recipe names
        if rows.first?.name != "Training data", let recipe = run.recipe {
            for line in recipe.split(separator: "\n")
            where line.hasPrefix("  train:") || line.hasPrefix("  validation:") {
                let parts = line.split(separator: ":", maxSplits: 1).map { $0.trimmingCharacters(in: .whitespaces) }
                if parts.count == 2 { rows.append(("data.\(parts[0])", parts[1])) }
            }
        }
        return section("Data", HTMLPage.table(rows))
    }

    private static func grouped(_ number: Int) -> String {
        let digits = String(number)
        return digits.enumerated().map { offset, digit in
            let isBreak = offset > 0 && (digits.count - offset) % 3 == 0
            return (isBreak ? "\u{202F}" : "") + String(digit)
        }.joined()
    }

    private var notices: String {
        run.notices.isEmpty
            ? "" : section("Notes", "<ul>" + run.notices.map { "<li>\(escaped($0))</li>" }.joined() + "</ul>")
    }

    private var recipe: String {
        run.recipe.map { section("Recipe", "<pre>\(escaped($0))</pre>") } ?? ""
    }

    private var environment: String {
        var rows = RunEnvironment.read(run.path).map { (name: $0.key, text: $0.value) }
        if let machine = run.start?["machine"]?.string { rows.append(("computed with", machine)) }
        return section("Environment", HTMLPage.table(rows))
    }
}
