import MoruTensor

extension Scheduler {
    /// Copying less than this of a page is not worth it: those few tokens are computed with others.
    private static let leastCopiedPositions = 16

    /// The next step; empty when there is nothing to do.
    ///
    /// - Parameter held: Sequences whose known tokens are all computed, and whose next is not chosen yet.
    package mutating func schedule(holding held: Set<SequenceID> = []) -> StepPlan {
        stepNumber += 1
        var plan = StepPlan()
        makeRoom(&plan)
        // Those that have just given their pages back would take them again
        if plan.preempted.isEmpty { admit(&plan) }
        plan.runs = runs(without: held)
        return plan
    }

    /// Takes the pages that the sequences at work need next. The youngest make room for the others.
    private mutating func makeRoom(_ plan: inout StepPlan) {
        var place = 0
        while place < running.count {
            let sequence = running[place]
            let positions = sequence.virtualTokens + min(sequence.target, sequence.computed + limits.shortRun)
            let missing = SequenceCache.pageCount(positions) - sequence.pages.count
            guard missing > 0 else {
                place += 1
                continue
            }
            while ledger.availableCount < missing, place < running.count - 1 { preemptYoungest(&plan) }
            guard let pages = ledger.take(missing) else { return preemptYoungest(&plan) }
            running[place].pages += pages
            place += 1
        }
    }

    private mutating func preemptYoungest(_ plan: inout StepPlan) {
        var sequence = running.removeLast()
        ledger.release(sequence.pages)
        (sequence.pages, sequence.enteredPages, sequence.computed) = ([], 0, 0)
        // It is computed again from its beginning
        sequence.sharesPages = true
        plan.preempted.append(sequence.id)
        preempted.insertByID(sequence)
    }

    // MARK: - Admission

    /// Lets sequences begin for which there are a place and pages: first those that had begun before, then those that
    /// wait, of the client that was served least.
    private mutating func admit(_ plan: inout StepPlan) {
        while running.count < limits.sequences {
            if let next = preempted.first {
                guard let sequence = begin(next, &plan) else { return }
                preempted.removeFirst()
                running.insertByID(sequence)
            } else {
                guard let client = nextClient(), let next = waiting[client]?.first,
                    let sequence = begin(next, &plan), removeWaiting(client, at: 0) != nil
                else { return }
                running.insertByID(sequence)
            }
        }
    }

    private func nextClient() -> String? {
        waiting.min { left, right in
            let (first, second) = (share.served(left.key), share.served(right.key))
            return first != second ? first < second : left.value[0].id < right.value[0].id
        }?.key
    }

    /// A sequence with pages for all that is known of it, or nil when there are too few.
    private mutating func begin(_ waiting: ScheduledSequence, _ plan: inout StepPlan) -> ScheduledSequence? {
        var sequence = waiting
        let found = sequence.reusesPages ? sharedBeginning(of: sequence) : SharedBeginning()
        ledger.hold(found.pages)
        let missing = SequenceCache.pageCount(sequence.virtualTokens + sequence.target) - found.pages.count
        // Each of those at work may need a page before this one is done
        guard ledger.availableCount >= missing + running.count, let pages = ledger.take(missing) else {
            ledger.release(found.pages)
            return nil
        }
        sequence.pages = found.pages + pages
        sequence.enteredPages = found.pages.count
        sequence.computed = max(0, found.positions - sequence.virtualTokens)
        if let source = found.copied, let destination = pages.first {
            plan.copies.append(PageCopy(source: source, destination: destination))
        }
        // As if it had had its last turn just before those of this step
        sequence.lastTurn = stepNumber - 1
        plan.starts.append(
            SequenceStart(
                id: sequence.id, pages: sequence.pages, positions: found.positions,
                cachedTokens: min(sequence.computed, sequence.promptCount)))
        return sequence
    }

    private struct SharedBeginning {
        /// Full pages to read.
        var pages: [PageID] = []
        /// The page whose first positions are those that follow.
        var copied: PageID?
        var positions = 0
    }

    /// What others have computed that a sequence can begin with.
    private func sharedBeginning(of sequence: ScheduledSequence) -> SharedBeginning {
        let size = SequenceCache.pageTokens
        var pages: [PageID] = []
        var parent = PageLedger.root(of: sequence.family)
        let fullCount = (sequence.virtualTokens + sequence.known.count) / size
        while pages.count < fullCount, let page = ledger.page(below: parent, sequence.content(of: pages.count)) {
            pages.append(page)
            parent = ledger.serial(of: page)
        }
        var copied: PageID?
        var positions = pages.count * size
        if let (page, count) = ledger.page(below: parent, mostLike: sequence.content(of: pages.count)) {
            copied = page
            positions += count
        }
        while true {
            positions = sequence.start(atMost: positions, limits)
            let part = positions % size
            guard part > 0, part < Self.leastCopiedPositions else { break }
            positions -= part
        }
        guard positions > 0, positions >= sequence.virtualTokens else { return SharedBeginning() }
        let (count, part) = positions.quotientAndRemainder(dividingBy: size)
        return SharedBeginning(
            pages: Array(pages.prefix(count)), copied: part == 0 ? nil : count < pages.count ? pages[count] : copied,
            positions: positions)
    }

    // MARK: - Runs

    /// Single tokens always run, there is one at most for each sequence; longer runs share the rest of the budget, those
    /// of the client that was served least first, and then in turns.
    private mutating func runs(without held: Set<SequenceID>) -> [StepRun] {
        var runs: [StepRun] = []
        runs.reserveCapacity(running.count)
        var longer: [Int] = []
        for place in running.indices where !held.contains(running[place].id) {
            if running[place].target - running[place].computed > 1 {
                longer.append(place)
            } else if let run = running[place].nextRun(1, limits) {
                runs.append(run)
                share.serve(running[place].client, 1)
            }
        }
        guard !longer.isEmpty else { return runs }
        var budget = limits.chunk
        for place in inTurn(longer) {
            guard let run = running[place].nextRun(budget, limits) else { continue }
            budget -= run.tokens.count
            running[place].lastTurn = stepNumber
            running[place].turns += 1
            share.serve(running[place].client, run.tokens.count)
            runs.append(run)
        }
        return runs.sorted { $0.id < $1.id }
    }

    private func inTurn(_ places: [Int]) -> [Int] {
        guard places.count > 1 else { return places }
        return places.sorted { left, right in
            let (first, second) = (running[left], running[right])
            let served = (share.served(first.client), share.served(second.client))
            if served.0 != served.1 { return served.0 < served.1 }
            return (first.lastTurn, first.turns, first.id) < (second.lastTurn, second.turns, second.id)
        }
    }
}

extension [ScheduledSequence] {
    fileprivate mutating func insertByID(_ sequence: ScheduledSequence) {
        insert(sequence, at: (lastIndex { $0.id < sequence.id } ?? -1) + 1)
    }
}
