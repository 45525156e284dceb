import MoruTensor

/// What a request begins with, in full pages.
struct SequenceBeginning {
    /// What they hold.
    var contents: [PageContent]
    /// How many of the first memory has.
    var known: Int
}

extension Scheduler {
    /// The pages given up since this was last asked, to be read before anything is written to them.
    mutating func takeLostPages() -> [LostPage] { ledger.takeLostPages() }

    /// What a request that is not added yet would begin with.
    func beginning(
        prompt: [Int32], maximumTokens: Int, virtualTokens: Int, family: Int
    ) -> SequenceBeginning {
        let sequence = asked(prompt, maximumTokens, virtualTokens, family)
        guard sequence.reusesPages else { return SequenceBeginning(contents: [], known: 0) }
        let contents = (0..<sequence.fullPages).map { sequence.content(of: $0) }
        var parent = PageLedger.root(of: family)
        var known = 0
        while known < contents.count, let page = ledger.page(below: parent, contents[known]) {
            parent = ledger.serial(of: page)
            known += 1
        }
        return SequenceBeginning(contents: contents, known: known)
    }

    /// Takes pages for a request's beginning whose contents come from elsewhere, and keeps them for whoever begins so.
    /// Those that are given up for them are noted.
    ///
    /// - Parameters:
    ///   - count: The number of pages.
    ///   - first: The place of the first in the sequence; those before it must be in memory still.
    /// - Returns: The pages to be filled and their places in the sequence, fewer where there is no room or others have
    ///   computed them meanwhile.
    mutating func restore(
        _ count: Int, from first: Int, prompt: [Int32], maximumTokens: Int, virtualTokens: Int, family: Int
    ) -> [(page: PageID, place: Int)] {
        let sequence = asked(prompt, maximumTokens, virtualTokens, family)
        var parent = PageLedger.root(of: family)
        // Held, lest they are given up for each other
        var held: [PageID] = []
        var taken: [(page: PageID, place: Int)] = []
        for place in 0..<min(first + count, sequence.fullPages) {
            let content = sequence.content(of: place)
            if let page = ledger.page(below: parent, content) {
                ledger.hold([page])
                held.append(page)
            } else {
                // Those at work may need a page each in the next step
                guard place >= first, ledger.availableCount > running.count, let page = ledger.take(1)?.first else {
                    break
                }
                held.append(ledger.enter(page, below: parent, content))
                taken.append((page, place))
            }
            parent = ledger.serial(of: held[held.count - 1])
        }
        ledger.release(held)
        return taken
    }

    private func asked(
        _ prompt: [Int32], _ maximumTokens: Int, _ virtualTokens: Int, _ family: Int
    ) -> ScheduledSequence {
        ScheduledSequence(
            id: 0, prompt: prompt, maximumTokens: maximumTokens, endIDs: [], virtualTokens: virtualTokens,
            family: family, client: "", reusesPages: sharesPages, limits)
    }
}

extension ScheduledSequence {
    /// Pages that the known tokens fill.
    fileprivate var fullPages: Int { (virtualTokens + known.count) / SequenceCache.pageTokens }
}
