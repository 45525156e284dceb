import Foundation
import MoruBase
import MoruTensor
import MoruTestKit
import Testing

@testable import MoruTraining

/// Runs in a process of their own that ends badly, taken up by this one.
@Suite
struct KillTests {
    private static func run() -> SmallRun {
        var small = SmallRun()
        small.lora.dropout = 0.1
        small.settings.length = .steps(200)
        small.settings.evaluateEvery = 3
        small.settings.saveEvery = 1
        small.settings.averageDecay = 0.9
        small.settings.earlyStopping.patience = 1_000
        return small
    }

    /// Killed again and again, at random instants of starting, stepping, validating and saving, the run goes on to the
    /// same losses, averages and results, bit for bit.
    @Test(.tags(.slow)) func killedTwentyTimesItGoesOnTheSame() async throws {
        let folder = try TemporaryFolder()
        let killed = folder.path + "/killed"
        var generator = RandomGenerator(seed: UInt64(Date().timeIntervalSince1970 * 1000))
        var reached: [Int] = []
        for _ in 0..<21 {
            // after some steps and a part of one; or while the run is being taken up
            let steps = Int.random(in: 0...5, using: &generator)
            let microseconds = Int.random(in: 0...12_000, using: &generator)
            await #expect(processExitsWith: .signal(SIGKILL)) {
                [killed = killed as String, steps = steps as Int, microseconds = microseconds as Int] in
                let killsSoon = {
                    Thread.detachNewThread {
                        usleep(useconds_t(microseconds))
                        kill(getpid(), SIGKILL)
                    }
                }
                if steps == 0 { killsSoon() }
                var seen = 0
                try Self.run().run(in: killed, existing: .resume) { event in
                    if case .step = event { seen += 1 }
                    if seen == steps, case .step = event { killsSoon() }
                }
                exit(0)
            }
            reached.append(try RunDirectory(killed, existing: .resume).checkpointSteps().first ?? 0)
        }
        let length = try #require(reached.last)
        #expect(length < 200 && Set(reached).count > 8, "no kill should find the run at its end: \(reached)")

        let whole = try Self.run().run(in: folder.path + "/whole")
        let rest = try Self.run().run(in: killed, existing: .resume)
        #expect(whole.losses.count == 200)
        #expect(rest.losses == Array(whole.losses[length...]))
        // the log has what every session did, each step once
        #expect(try Self.logged(killed, "step", "loss") == whole.losses)
        #expect(try Self.logged(killed, "validation", "loss") == whole.validationLosses)
        for name in ["adapter/adapter_model.safetensors", "checkpoints/step-000200/optimizer.safetensors"] {
            try expectEqual(
                FileSystem.read("\(killed)/\(name)"), FileSystem.read("\(folder.path)/whole/\(name)"), "\(name)")
        }
        #expect(try FileSystem.list(killed) == [".lock", "adapter", "checkpoints", "events.jsonl"])
        #expect(try FileSystem.list(killed + "/checkpoints") == ["step-000199", "step-000200"])
    }

    private static func logged(_ run: String, _ event: String, _ key: String) throws -> [Double] {
        try FileSystem.readText(run + "/events.jsonl").split(separator: "\n").compactMap {
            let line = try JSON.parse(String($0), source: "events")
            return line["event"]?.string == event ? line[key]?.double : nil
        }
    }

    /// A file that cannot grow any more, as on a full disk: a typed error, and the last checkpoint is still good.
    @Test func whereNothingCanBeWrittenTheLastCheckpointStays() async throws {
        let folder = try TemporaryFolder()
        let run = folder.path + "/run"
        await #expect(processExitsWith: .success) { [run = run as String] in
            signal(SIGXFSZ, SIG_IGN)
            do {
                try Self.run().run(in: run) { event in
                    guard case .step(let step) = event, step.step == 5 else { return }
                    let bytes = (try? FileSystem.read(run + "/events.jsonl").count) ?? 0
                    // room for events, not for the optimizer's moments
                    var limit = rlimit(rlim_cur: rlim_t(bytes + 600), rlim_max: rlim_t(bytes + 600))
                    setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
                }
            } catch let error as MoruError where error.code == .fileUnwritable && error.message.contains(run) {
                exit(0)
            }
            exit(1)
        }
        #expect(try FileSystem.list(run + "/checkpoints") == ["step-000003", "step-000004"])
        let whole = try Self.run().run(in: folder.path + "/whole")
        #expect(try Self.run().run(in: run, existing: .resume).losses == Array(whole.losses[4...]))
    }
}
