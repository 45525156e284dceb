import ArgumentParser
import Foundation
import MoruBase
import MoruTraining

/// `moru runs`: what training and tuning runs came to.
struct Runs: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List, show and compare training runs.",
        discussion: """
            A run is a directory written by moru train or moru tune.

            Examples:
              moru runs list
              moru runs show runs/first
              moru runs compare runs/first runs/second
              moru runs report runs/first
            """,
        subcommands: [RunsList.self, RunsShow.self, RunsCompare.self, RunsReport.self],
        defaultSubcommand: RunsList.self)
}

/// `moru runs list`: the runs below a directory.
struct RunsList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the runs in a directory, newest first.",
        discussion: """
            Examples:
              moru runs list
              moru runs list experiments/ --json
            """)

    @Argument(help: "Where to look; the working directory by default.")
    var directory = "."
    @OptionGroup var output: OutputOptions

    func run() async throws {
        guard FileSystem.isDirectory(directory) else {
            throw MoruError(.fileNotFound, "\(directory) is not a directory", remedy: "name one that holds runs")
        }
        let runs = RunRecord.find(in: directory)
        if output.json { return Terminal.result(JSON.array(runs.map(\.json)).text(pretty: true)) }
        guard !runs.isEmpty else { return Terminal.talk("no runs below \(directory)") }
        var table = Table(
            ["run", "state", "steps", "held-out loss", "loss", "time", ""],
            [.left, .left, .right, .right, .right, .right])
        for run in runs {
            table.add(
                run.path.hasPrefix("./") ? String(run.path.dropFirst(2)) : run.path, run.state.rawValue,
                "\(run.steps.last?.step ?? 0)/\(run.totalSteps)", run.best.map { Format.fixed($0.loss, 4) } ?? "-",
                run.steps.last.map { Format.fixed($0.loss, 4) } ?? "-", Format.duration(run.seconds),
                TerminalPlot.spark(run.steps.map(\.loss), width: 16))
        }
        Terminal.result(table.text)
    }
}

/// `moru runs show`: one run.
struct RunsShow: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show a run: its metrics and curves.",
        discussion: """
            Examples:
              moru runs show runs/first
              moru runs show runs/first --json
            """)

    @Argument(help: "The run's directory.") var directory: String
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let run = try RunRecord(directory)
        if output.json { return Terminal.result(run.detailedJSON.text(pretty: true)) }
        var lines = [
            "\(run.name): \(run.state.rawValue), step \(run.steps.last?.step ?? 0) of \(run.totalSteps), "
                + Format.duration(run.seconds)
        ]
        if let best = run.best {
            let others = best.others.sorted { $0.key < $1.key }
                .map { ", \($0.key.replacing("_", with: " ")) \(Format.fixed($0.value, 4))" }.joined()
            lines.append("best held-out loss \(Format.fixed(best.loss, 4)) after step \(best.step)\(others)")
        }
        if let rate = run.medianInputsPerSecond { lines.append("\(Int(rate)) tokens a second (median)") }
        lines.append("")
        var curves = [TerminalPlot.Curve(name: "loss of each step", points: run.steps.map { ($0.step, $0.loss) })]
        if !run.validations.isEmpty {
            curves.append(
                TerminalPlot.Curve(name: "held out", points: run.validations.map { ($0.step, $0.loss) }))
        }
        lines += TerminalPlot.plot(curves, width: min(76, Terminal.width - 4))
        lines += run.notices.map { "note: \($0)" }
        Terminal.result(lines.joined(separator: "\n"))
    }
}

/// `moru runs compare`: runs side by side.
struct RunsCompare: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compare", abstract: "Compare runs: their metrics, and the differences of their recipes.",
        discussion: """
            Examples:
              moru runs compare runs/llama runs/lstm
              moru runs compare runs/* --json
            """)

    @Argument(help: "The runs' directories.") var directories: [String]
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if directories.count < 2 { throw ValidationError("Give at least two runs.") }
    }

    func run() async throws {
        var runs: [RunRecord] = []
        for directory in directories { runs.append(try RunRecord(directory)) }
        let differences = RunRecord.differences(runs)
        if output.json {
            let changed = differences.map { key, values -> (String, JSON) in
                (key, .array(values.map { $0.map { .string($0) } ?? .null }))
            }
            let json: JSON = ["runs": .array(runs.map(\.json)), "differences": .object(JSONObject(changed))]
            return Terminal.result(json.text(pretty: true))
        }
        var table = Table([""] + runs.map(\.name), [.left] + runs.map { _ in .right })
        func add(_ title: String, _ value: (RunRecord) -> String?) {
            let cells = runs.map { value($0) ?? "-" }
            if cells.contains(where: { $0 != "-" }) { table.add([title] + cells) }
        }
        add("state") { $0.state.rawValue }
        add("steps") { "\($0.steps.last?.step ?? 0)/\($0.totalSteps)" }
        add("best held-out loss") { $0.best.map { Format.fixed($0.loss, 4) } }
        for name in Set(runs.flatMap { $0.best?.others.keys.sorted() ?? [] }).sorted() {
            add(name.replacing("_", with: " ")) { $0.best?.others[name].map { Format.fixed($0, 4) } }
        }
        add("last training loss") { $0.steps.last.map { Format.fixed($0.loss, 4) } }
        add("parameters that move") { $0.start?["trainable_parameters"]?.int.map(Format.count) }
        add("tokens a second") { $0.medianInputsPerSecond.map { "\(Int($0))" } }
        add("time") { Format.duration($0.seconds) }
        add("loss") { TerminalPlot.spark($0.steps.map(\.loss), width: 20) }
        for (key, values) in differences {
            table.add([key] + values.map { $0.map { String($0.suffix(28)) } ?? "-" })
        }
        Terminal.result(table.text)
        let curves = runs.map { run in
            TerminalPlot.Curve(
                name: run.name,
                points: run.validations.count > 1
                    ? run.validations.map { ($0.step, $0.loss) } : run.steps.map { ($0.step, $0.loss) })
        }
        Terminal.result("\n" + TerminalPlot.plot(curves, width: min(76, Terminal.width - 4)).joined(separator: "\n"))
    }
}

/// `moru runs report`: a page of HTML.
struct RunsReport: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "report", abstract: "Write a run's report: one page of HTML that needs nothing else.",
        discussion: """
            Examples:
              moru runs report runs/first
            """)

    @Argument(help: "The run's directory.") var directory: String
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let path = try RunReport.write(directory)
        Terminal.result(output.json ? JSON.object(JSONObject([("report", .string(path))])).text() : path)
    }
}
