import MoruBase
import MoruTensor
import Testing

@testable import MoruEngine

/// A machine that computes nothing but remembers, at every position of every page, what a model's keys and values there
/// would depend on: all tokens up to it, and whether each was computed in a long run or a short one.
private struct TracingMachine {
    private struct Work {
        var family: Int
        var virtualTokens: Int
        var pages: [PageID] = []
        var trace: [Int] = []
    }

    private var pages: [PageID: [Int]] = [:]
    private var work: [SequenceID: Work] = [:]
    let shortRun: Int
    /// Rows computed.
    var rows = 0

    init(shortRun: Int) { self.shortRun = shortRun }

    mutating func begin(_ id: SequenceID, family: Int, virtualTokens: Int) {
        work[id] = Work(family: family, virtualTokens: virtualTokens)
    }

    private static func next(_ before: Int, _ token: Int32, isLong: Bool) -> Int {
        var generator = RandomGenerator(seed: UInt64(bitPattern: Int64(before)) ^ UInt64(token + (isLong ? 100 : 0)))
        return Int.random(in: 0...Int.max, using: &generator)
    }

    private mutating func write(_ value: Int, _ id: SequenceID) {
        let place = work[id]?.trace.count ?? 0
        guard let page = work[id]?.pages[place / SequenceCache.pageTokens] else { return }
        pages[page, default: Array(repeating: 0, count: SequenceCache.pageTokens)][place % SequenceCache.pageTokens] =
            value
        work[id]?.trace.append(value)
    }

    /// Computes a plan; every next token is a function of what came before.
    mutating func compute(_ plan: StepPlan) -> StepResult {
        for copy in plan.copies { pages[copy.destination] = pages[copy.source] }
        for start in plan.starts {
            work[start.id]?.pages = start.pages
            work[start.id]?.trace = (0..<start.positions).map {
                pages[start.pages[$0 / SequenceCache.pageTokens]]?[$0 % SequenceCache.pageTokens] ?? 0
            }
            guard start.positions == 0, let its = work[start.id] else { continue }
            for place in 0..<its.virtualTokens { write(-its.family * 1000 - place, start.id) }
        }
        var outcomes: [SequenceID: StepResult.Outcome] = [:]
        for run in plan.runs {
            guard let its = work[run.id] else { continue }
            #expect(its.trace.count == its.virtualTokens + run.positions.lowerBound)
            work[run.id]?.pages = run.pages
            // What others did meanwhile must not have touched the sequence's pages
            for (place, value) in its.trace.enumerated() {
                let page = run.pages[place / SequenceCache.pageTokens]
                #expect(pages[page]?[place % SequenceCache.pageTokens] == value, "sequence \(run.id), place \(place)")
            }
            for token in run.tokens {
                let before = work[run.id]?.trace.last ?? its.family
                write(Self.next(before, token, isLong: run.tokens.count > shortRun), run.id)
            }
            rows += run.tokens.count
            let last = work[run.id]?.trace.last ?? 0
            outcomes[run.id] = run.samples ? .sampled([Int32(truncatingIfNeeded: last & 0xF)]) : .computed
        }
        return StepResult(outcomes)
    }
}

@Suite("Scheduler under load")
struct SchedulerLoadTests {
    private struct Request {
        var prompt: [Int32]
        var maximumTokens: Int
        var family: Int
        var client: String
        var cancelledAt: Int?
        var ends = true
        var virtualTokens: Int { family == 2 ? 70 : family == 1 ? 5 : 0 }
    }

    private func answers(
        _ requests: [Request], _ limits: Scheduler.Limits, sharesPages: Bool = true, arrivals: (Int) -> Int = { _ in 0 }
    ) -> (answers: [[Int32]], rows: Int, preemptions: Int) {
        var scheduler = Scheduler(limits, sharesPages: sharesPages)
        var machine = TracingMachine(shortRun: limits.shortRun)
        var answers = Array(repeating: [Int32](), count: requests.count)
        var (submitted, step, preemptions) = (0, 0, 0)
        while step < 20_000, submitted < requests.count || !scheduler.isIdle {
            while submitted < requests.count, arrivals(submitted) <= step {
                let request = requests[submitted]
                scheduler.add(
                    submitted, prompt: request.prompt, maximumTokens: request.maximumTokens,
                    endIDs: request.ends ? [15] : [],
                    virtualTokens: request.virtualTokens, family: request.family, client: request.client)
                machine.begin(submitted, family: request.family, virtualTokens: request.virtualTokens)
                submitted += 1
            }
            for (id, request) in requests.enumerated() where request.cancelledAt == step {
                _ = scheduler.cancel(id)
            }
            let plan = scheduler.schedule()
            #expect(scheduler.isIdle || !plan.runs.isEmpty)
            #expect(plan.tokenCount <= limits.tokens && plan.runs.count <= limits.sequences)
            #expect(plan.runs.map(\.id) == plan.runs.map(\.id).sorted())
            #expect(scheduler.ledger.heldCount + scheduler.ledger.keptCount <= limits.pages)
            preemptions += plan.preempted.count
            for event in scheduler.apply(plan, machine.compute(plan)) {
                if case .token(let id, let token) = event { answers[id].append(token) }
            }
            step += 1
        }
        #expect(scheduler.isIdle && scheduler.ledger.heldCount == 0)
        return (answers, machine.rows, preemptions)
    }

    @Test("whatever is shared, preempted, cut and cancelled, each gets what it gets alone", arguments: 0..<30)
    func randomLoads(seed: Int) {
        var random = RandomGenerator(seed: UInt64(seed))
        let beginning = (0..<300).map { _ in Int32.random(in: 0...15, using: &random) }
        let shortRun = Int.random(in: 1...8, using: &random)
        let requests = (0..<14).map { _ in
            let shared = beginning.prefix([0, 60, 64, 90, 128, 200, 300].randomElement(using: &random) ?? 0)
            let own = (0..<Int.random(in: 1...40, using: &random)).map { _ in Int32.random(in: 0...15, using: &random) }
            return Request(
                prompt: shared + own, maximumTokens: Int.random(in: 1...150, using: &random),
                family: Int.random(in: 0...2, using: &random), client: "\(Int.random(in: 0...1, using: &random))",
                cancelledAt: Int.random(in: 0...5, using: &random) == 0 ? Int.random(in: 0...60, using: &random) : nil)
        }
        let alone = requests.map { request -> [Int32] in
            var request = request
            request.cancelledAt = nil
            let limits = Scheduler.Limits(sequences: 1, tokens: 2000, context: 600, shortRun: shortRun)
            return answers([request], limits, sharesPages: false).answers[0]
        }
        let sequences = Int.random(in: 1...5, using: &random)
        let limits = Scheduler.Limits(
            sequences: sequences, tokens: sequences + 2 * shortRun + Int.random(in: 1...200, using: &random),
            context: 600, pages: Int.random(in: 10...24, using: &random), shortRun: shortRun)
        let together = answers(requests, limits) { $0 * 3 }
        for (id, request) in requests.enumerated() {
            if request.cancelledAt == nil {
                #expect(together.answers[id] == alone[id], "request \(id)")
            } else {
                #expect(alone[id].starts(with: together.answers[id]), "request \(id), cancelled")
            }
        }
    }

    @Test("few pages lead to preemption, many to sharing: the answers stay")
    func pressure() {
        let beginning = (0..<200).map { Int32($0 % 14) }
        let requests = (0..<8).map {
            Request(prompt: beginning + [Int32($0)], maximumTokens: 140, family: 0, client: "", ends: false)
        }
        func limits(_ pages: Int) -> Scheduler.Limits {
            Scheduler.Limits(sequences: 8, tokens: 520, context: 400, pages: pages)
        }
        let (alone, rows, none) = answers(requests, limits(100), sharesPages: false)
        #expect(none == 0)
        let shared = answers(requests, limits(100)) { $0 * 2 }
        #expect(shared.answers == alone && shared.rows < rows - 7 * 180 && shared.preemptions == 0)
        let tight = answers(requests, limits(14), sharesPages: false)
        #expect(tight.answers == alone && tight.preemptions > 0 && tight.rows > rows)
        #expect(answers(requests, limits(8)).answers == alone)
    }

    @Test("clients get the same number of tokens, however many requests they send")
    func fairness() {
        var scheduler = Scheduler(Scheduler.Limits(sequences: 2, tokens: 40, context: 400))
        for id in 0..<20 { scheduler.add(id, prompt: [1, 2, 3], maximumTokens: 10, endIDs: [], client: "many") }
        for id in 20..<24 { scheduler.add(id, prompt: [1, 2, 3], maximumTokens: 10, endIDs: [], client: "few") }
        var machine = TracingMachine(shortRun: limitsShortRun)
        for id in 0..<24 { machine.begin(id, family: 0, virtualTokens: 0) }
        var ended: [SequenceID] = []
        while !scheduler.isIdle {
            let plan = scheduler.schedule()
            for event in scheduler.apply(plan, machine.compute(plan)) {
                if case .finished(let id, _) = event { ended.append(id) }
            }
        }
        // The four of one client end among the first nine or so, not after the twenty of the other
        #expect((ended.firstIndex(of: 23) ?? .max) < 10)
        #expect(ended.filter { $0 < 20 } == Array(0..<20))
    }

    private var limitsShortRun: Int { Runtime.fewRows }

    @Test("a short prompt does not wait for a long one to end, nor the long one for short ones for ever")
    func turns() {
        var scheduler = Scheduler(Scheduler.Limits(sequences: 4, tokens: 54, context: 2000))
        scheduler.add(0, prompt: Array(repeating: 1, count: 1000), maximumTokens: 1, endIDs: [])
        _ = scheduler.apply(scheduler.schedule(), StepResult([0: .computed]))
        scheduler.add(1, prompt: Array(repeating: 2, count: 50), maximumTokens: 1, endIDs: [])
        var (steps, longSteps, next) = (0, 0, 2)
        while scheduler.isIdle == false, steps < 200 {
            let plan = scheduler.schedule()
            if steps == 0 { #expect(plan.runs.map(\.id) == [1]) }
            if plan.runs.contains(where: { $0.id == 0 }) { longSteps += 1 }
            var outcomes: [SequenceID: StepResult.Outcome] = [:]
            for run in plan.runs { outcomes[run.id] = run.samples ? .sampled([3]) : .computed }
            let ended = scheduler.apply(plan, StepResult(outcomes))
            if ended.contains(where: { if case .finished(0, _) = $0 { true } else { false } }) { break }
            scheduler.add(next, prompt: Array(repeating: Int32(next), count: 50), maximumTokens: 1, endIDs: [])
            (steps, next) = (steps + 1, next + 1)
        }
        #expect(steps < 90 && longSteps >= 19)
    }
}
