import Foundation
import MoruBase
import MoruTestKit
import Testing

@testable import MoruTraining

/// What a run's directory says, and the page that is made of it.
struct RunReportTests {
    private final class Run {
        let path = TestNeeds.temporaryPath("report-run")
        deinit { FileSystem.remove(path) }

        init(_ events: [String], recipe: String = "output: x\ntraining:\n  steps: 3\n") throws {
            try FileSystem.createDirectory(path)
            try FileSystem.write(events.joined(separator: "\n").utf8, to: path + "/events.jsonl")
            try FileSystem.write(recipe.utf8, to: path + "/recipe.yaml")
        }
    }

    private static let started =
        #"{"event":"started","total_steps":3,"trainable_parameters":1000,"machine":"avx2 kernels","time":100}"#
    private static func step(_ number: Int, _ loss: Double) -> String {
        #"{"event":"step","step":\#(number),"epoch":0.5,"loss":\#(loss),"learning_rate":0.001,"gradient_norm":1,"#
            + #""inputs_per_second":\#(number * 100),"peak_memory_bytes":2000000,"time":\#(100 + number)}"#
    }
    private static let validation =
        #"{"event":"validation","step":2,"loss":2.5,"is_best":true,"seconds":1,"others":{"bits_per_byte":1.75},"time":103}"#
    private static let finished = #"{"event":"finished","steps":3,"inputs":10,"seconds":12.5,"time":110}"#

    @Test func eventsBecomeARecord() throws {
        let run = try Run([
            Self.started, Self.step(1, 4), Self.step(2, 3), Self.validation, Self.step(3, 2.75),
            #"{"event":"notice","text":"two examples were cut"}"#, Self.finished,
        ])
        let record = try RunRecord(run.path + "/")
        #expect(record.state == .finished && record.steps.map(\.loss) == [4, 3, 2.75] && record.totalSteps == 3)
        #expect(record.best?.loss == 2.5 && record.best?.others == ["bits_per_byte": 1.75])
        #expect(record.seconds == 12.5 && record.medianInputsPerSecond == 200)
        #expect(record.notices == ["two examples were cut"] && record.name == (run.path as NSString).lastPathComponent)
        let json = record.json
        #expect(json["best"]?["bits_per_byte"]?.double == 1.75 && json["state"]?.string == "finished")
        #expect(record.detailedJSON["steps"]?.array?.count == 3)
    }

    @Test func runsThatAreCutOffAreReadAsFarAsTheyGo() throws {
        let run = try Run([Self.started, Self.step(1, 4), #"{"event":"step","st"#])
        #expect(try RunRecord(run.path).state == .open && RunRecord(run.path).steps.count == 1)
        let stopped = try Run([Self.started, Self.step(1, 4), #"{"event":"stopped","step":1}"#])
        #expect(try RunRecord(stopped.path).state == .stopped)
        let resumed = try Run([Self.started, #"{"event":"stopped","step":1}"#, Self.started])
        #expect(try RunRecord(resumed.path).state == .open)
        let error = #expect(throws: MoruError.self) { try RunRecord(NSTemporaryDirectory()) }
        #expect(error?.code == .runNotFound)
    }

    @Test func runsAreFoundTheNewestFirst() throws {
        let place = TestNeeds.temporaryPath("runs")
        defer { FileSystem.remove(place) }
        for (name, time) in [("a", 100), ("deep/b", 300), ("c", 200)] {
            try FileSystem.createDirectory("\(place)/\(name)")
            try FileSystem.write(
                #"{"event":"started","total_steps":3,"time":\#(time)}"#.utf8, to: "\(place)/\(name)/events.jsonl")
        }
        #expect(RunRecord.find(in: place).map(\.name) == ["b", "c", "a"])
    }

    @Test func recipesAreComparedKeyByKey() throws {
        let a = try Run([], recipe: "size: nano\ntraining:\n  steps: 3\n  seed: 0\n")
        let b = try Run([], recipe: "size: nano\ntraining:\n  steps: 5\n  seed: 0\nmodel:\n  layers: 2\n")
        let differences = RunRecord.differences([try RunRecord(a.path), try RunRecord(b.path)])
        #expect(differences.map(\.key) == ["training.steps", "model.layers"])
        #expect(differences.map(\.values) == [["3", "5"], [nil, "2"]])
    }

    @Test func thePageHoldsEverythingAndNothingFromElsewhere() throws {
        let run = try Run(
            [Self.started, Self.step(1, 4), Self.step(2, 3), Self.validation, Self.finished],
            recipe: "output: \"<script>alert(1)</script>\"\n")
        let samples = #"{"samples":[{"prompt":"A & B","before":" <b>x</b>","after":" y"}]}"#
        try FileSystem.write(samples.utf8, to: run.path + "/samples.json")
        try RunEnvironment.write(to: run.path, version: "9.9.9")
        let html = try FileSystem.readText(RunReport.write(run.path))
        for part in [
            "1.750", "2.500", "bits per byte", "A &amp; B", "&lt;b&gt;x", "9.9.9", "avx2 kernels", "13 s", "<svg",
        ] {
            let isThere = html.contains(part)
            #expect(isThere, "\(part) is missing")
        }
        for stranger in ["<script", "http:", "https:", "src=", "@import", "url("] {
            let isThere = html.contains(stranger)
            #expect(!isThere, "\(stranger) is there")
        }
        #expect(html.components(separatedBy: "<figure>").count == html.components(separatedBy: "</figure>").count)
        #expect(html.components(separatedBy: "<section").count == html.components(separatedBy: "</section>").count)
        // Of an empty run too
        let empty = try Run([])
        #expect(try RunReport(empty.path).html.contains("not complete"))
    }

    @Test func chartsEndWhereTheRunDoesAndStayInside() throws {
        let points = (0..<1000).map { (x: Double($0), y: 5 - Double($0) / 500) }
        let svg = LineChart(
            title: "Loss", xName: "step", lines: [LineChart.Line(name: "a", points: points, style: "first")]
        ).svg
        let line = try #require(svg.firstMatch(of: /<polyline class="line first" points="([^"]*)"/)).1
        let drawn = line.split(separator: " ").map { $0.split(separator: ",").compactMap { Double($0) } }
        #expect(drawn.count <= 402 && drawn.allSatisfy { $0.count == 2 })
        #expect(drawn.first == [52, 12] && drawn.last == [426, 214])
        #expect(LineChart(title: "", xName: "", lines: []).svg.isEmpty)
        let flat = LineChart(
            title: "", xName: "", lines: [LineChart.Line(name: "", points: [(1, 3), (2, 3)], style: "first")]
        ).svg
        #expect(!flat.contains("nan") && !flat.contains("inf"))
        #expect(
            [0, 0.002, 1.5, 250, 12_345, 3_400_000].map(LineChart.brief) == [
                "0", "0.002", "1.5", "250", "12.35k", "3.4M",
            ])
    }
}
