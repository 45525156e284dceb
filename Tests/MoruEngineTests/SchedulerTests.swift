import MoruBase
import MoruTensor
import Testing

@testable import MoruEngine

@Suite("Scheduler")
struct SchedulerTests {
    private func scheduler(sequences: Int = 2, tokens: Int = 10, context: Int = 100) -> Scheduler {
        Scheduler(Scheduler.Limits(sequences: sequences, tokens: tokens, context: context, shortRun: 1))
    }

    /// Runs one step in which every due token is `token`, and describes what happened.
    private func step(_ scheduler: inout Scheduler, token: Int32 = 7) -> (plan: StepPlan, events: [String]) {
        let plan = scheduler.schedule()
        var outcomes: [SequenceID: StepResult.Outcome] = [:]
        for run in plan.runs { outcomes[run.id] = run.samples ? .sampled([token]) : .computed }
        return (plan, scheduler.apply(plan, StepResult(outcomes)).map(describe))
    }

    private func describe(_ event: SchedulerEvent) -> String {
        switch event {
        case .promptComputed(let id): "prompt \(id)"
        case .token(let id, let token): "token \(id) \(token)"
        case .finished(let id, let reason): "finished \(id) \(reason)"
        case .failed(let id, let error): "failed \(id) \(error.code)"
        }
    }

    @Test("a long prompt is computed in chunks, and only its last chunk samples")
    func chunks() {
        var scheduler = scheduler()
        scheduler.add(0, prompt: Array(0..<20), maximumTokens: 2, endIDs: [])
        var seen: [(Range<Int>, Bool)] = []
        var events: [String] = []
        while !scheduler.isIdle {
            let (plan, happened) = step(&scheduler)
            seen += plan.runs.map { ($0.positions, $0.samples) }
            events += happened
        }
        #expect(seen.map(\.0) == [0..<8, 8..<16, 16..<20, 20..<21])
        #expect(seen.map(\.1) == [false, false, true, true])
        #expect(events == ["prompt 0", "token 0 7", "token 0 7", "finished 0 length"])
    }

    @Test("running sequences decode beside another's prompt")
    func decodesBesidePrompts() {
        var scheduler = scheduler()
        scheduler.add(0, prompt: [1, 2], maximumTokens: 10, endIDs: [])
        scheduler.add(1, prompt: Array(0..<20), maximumTokens: 10, endIDs: [])
        #expect(step(&scheduler).plan.runs.map(\.positions) == [0..<2, 0..<6])
        #expect(step(&scheduler).plan.runs.map(\.positions) == [2..<3, 6..<14])
        #expect(step(&scheduler).plan.runs.map(\.positions) == [3..<4, 14..<20])
        #expect(step(&scheduler).plan.runs.map(\.positions) == [4..<5, 20..<21])
    }

    @Test("no more than the permitted sequences run, and the next begins when one ends")
    func admission() {
        var scheduler = scheduler()
        for id in 0..<3 { scheduler.add(id, prompt: [1, 2], maximumTokens: id + 1, endIDs: []) }
        #expect(step(&scheduler).plan.runs.map(\.id) == [0, 1])
        #expect(scheduler.waitingCount == 1)
        #expect(step(&scheduler).plan.runs.map(\.id) == [1, 2])
        #expect(step(&scheduler).plan.runs.map(\.id) == [2])
    }

    @Test("an end token ends a sequence and is not part of the answer")
    func endToken() {
        var scheduler = scheduler()
        scheduler.add(0, prompt: [1, 2], maximumTokens: 10, endIDs: [9])
        #expect(step(&scheduler, token: 7).events == ["prompt 0", "token 0 7"])
        #expect(step(&scheduler, token: 9).events == ["finished 0 stop(9)"])
        #expect(scheduler.isIdle)
    }

    @Test("the end of the context is told from the requested length")
    func contextEnd() {
        var scheduler = scheduler(context: 4)
        scheduler.add(0, prompt: [1, 2], maximumTokens: 2, endIDs: [])
        scheduler.add(1, prompt: [1, 2], maximumTokens: 3, endIDs: [])
        _ = step(&scheduler)
        #expect(
            step(&scheduler).events
                == ["token 0 7", "finished 0 length", "token 1 7", "finished 1 contextLength"])
    }

    @Test("a prompt that is only scored needs no row for its last token")
    func scoring() {
        var scheduler = scheduler()
        scheduler.add(0, prompt: Array(0..<10), maximumTokens: 0, endIDs: [])
        var plans: [StepPlan] = []
        var events: [String] = []
        while !scheduler.isIdle {
            let (plan, happened) = step(&scheduler)
            plans.append(plan)
            events += happened
        }
        #expect(plans.flatMap(\.runs).map(\.positions) == [0..<7, 7..<9])
        #expect(plans.flatMap(\.runs).allSatisfy { !$0.samples })
        #expect(events == ["prompt 0", "finished 0 length"])
    }

    @Test("cancelling forgets a sequence, waiting or running, once")
    func cancel() {
        var scheduler = scheduler(sequences: 1)
        scheduler.add(0, prompt: [1, 2], maximumTokens: 10, endIDs: [])
        scheduler.add(1, prompt: [1, 2], maximumTokens: 10, endIDs: [])
        _ = step(&scheduler)
        #expect(scheduler.cancel(1).map(describe) == ["finished 1 cancelled"])
        #expect(scheduler.cancel(0).map(describe) == ["finished 0 cancelled"])
        #expect(scheduler.cancel(0).isEmpty)
        #expect(scheduler.isIdle && scheduler.schedule().runs.isEmpty)
    }

    @Test("what was computed before contents were forgotten reaches nobody else, also by way of a running sequence")
    func forgettingWhileRunning() {
        var scheduler = scheduler(sequences: 1, tokens: 200, context: 300)
        func request(_ id: Int, _ prompt: [Int32], generating count: Int) -> StepPlan {
            scheduler.add(id, prompt: prompt, maximumTokens: count, endIDs: [])
            let plan = step(&scheduler).plan
            if id == 0 { scheduler.forgetContents() }
            while !scheduler.isIdle { _ = step(&scheduler) }
            return plan
        }
        let prompt = (0..<40).map { Int32($0) }
        // Fills its first page after contents were forgotten
        _ = request(0, prompt, generating: 60)
        let next = prompt + Array(repeating: 7, count: 60)
        #expect(request(1, next, generating: 1).starts.map(\.positions) == [0])
        #expect(request(2, next, generating: 1).starts.map(\.positions) == [64])
    }

    @Test("a failed sequence is forgotten, the others go on")
    func failure() {
        var scheduler = scheduler()
        scheduler.add(0, prompt: [1, 2], maximumTokens: 10, endIDs: [])
        scheduler.add(1, prompt: [1, 2], maximumTokens: 10, endIDs: [])
        let plan = scheduler.schedule()
        let events = scheduler.apply(
            plan, StepResult([0: .failed(MoruError(.logitsNotFinite, "test")), 1: .sampled([3])]))
        #expect(events.map(describe) == ["failed 0 engine.logits-not-finite", "prompt 1", "token 1 3"])
        #expect(scheduler.runningCount == 1)
    }

    @Test("long runs share a pass, short ones go in passes of few rows")
    func passes() {
        func run(_ id: Int, _ count: Int) -> StepRun {
            StepRun(id: id, positions: 0..<count, tokens: Array(repeating: 1, count: count), samples: true)
        }
        let plan = StepPlan(runs: [run(0, 1), run(1, 30), run(2, 8), run(3, 9), run(4, 3), run(5, 5)])
        #expect(plan.passes().map { $0.map(\.id) } == [[1, 3], [0], [2], [4, 5]])
    }
}
