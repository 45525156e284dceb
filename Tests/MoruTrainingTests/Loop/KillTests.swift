import Foundation
import MoruBase
import MoruTestKit
import Testing

@testable import MoruTraining

/// Runs in a process of their own that ends badly, taken up by this one.
@Suite
struct KillTests {
    private static func run() -> SmallRun {
        var small = SmallRun()
        small.lora.dropout = 0.1
        small.settings.length = .steps(40)
        small.settings.evaluateEvery = 3
        small.settings.saveEvery = 1
        return small
    }

    /// Killed at whatever instant, the run goes on to the same losses and the same adapter, bit for bit.
    @Test(arguments: [20, 90, 170]) func killedAtAnyInstant(milliseconds: Int) async throws {
        let folder = try TemporaryFolder()
        let killed = folder.path + "/killed"
        await #expect(processExitsWith: .signal(SIGKILL)) {
            [killed = killed as String, milliseconds = milliseconds as Int] in
            try Self.run().run(in: killed) { event in
                guard case .started = event else { return }
                Thread.detachNewThread {
                    Thread.sleep(forTimeInterval: Double(milliseconds) / 1000)
                    kill(getpid(), SIGKILL)
                }
            }
            // faster than expected: the end still has to be violent
            kill(getpid(), SIGKILL)
        }
        let whole = try Self.run().run(in: folder.path + "/whole")
        let rest = try Self.run().run(in: killed, existing: .resume)
        #expect(rest.losses == Array(whole.losses.suffix(rest.losses.count)))
        #expect(rest.validationLosses == Array(whole.validationLosses.suffix(rest.validationLosses.count)))
        let name = "adapter/adapter_model.safetensors"
        #expect(try FileSystem.read("\(killed)/\(name)") == FileSystem.read("\(folder.path)/whole/\(name)"))
        #expect(try FileSystem.list(killed) == [".lock", "adapter", "checkpoints", "events.jsonl"])
        #expect(try FileSystem.list(killed + "/checkpoints") == ["step-000039", "step-000040"])
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
