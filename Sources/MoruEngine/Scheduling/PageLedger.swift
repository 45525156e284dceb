/// A page's number in its engine's store.
package typealias PageID = Int

/// Who holds which page of keys and values, and what full pages hold, so that sequences that begin alike share them.
///
/// A page is free, or held by one or more sequences, or kept: held by nobody, but with a content that a later sequence
/// may begin with. Kept pages are given up, those unused for longest first, when no page is free.
///
/// Full pages form a tree: the pages of a sequence, each below the one before it. Which page follows is found by the
/// tokens themselves, not by a hash alone, and by how many of its positions were computed in long runs, whose arithmetic
/// is another. Whoever holds a page holds all pages above it, so pages are given up from the tree's leaves.
///
/// A value without I/O.
package struct PageLedger: Sendable {
    /// Where a page stands in the tree: below which other one, and with what content.
    private struct Key: Hashable {
        /// The serial number of the page above; for first pages, what tells families of sequences apart.
        var parent: Int
        var content: PageContent
    }

    private struct Page {
        /// Sequences that hold it.
        var holders = 0
        /// Its place in the tree; nil while it is not full.
        var key: Key?
        var serial = 0
        /// Neighbours among the kept pages, from the one unused for longest.
        var previous: PageID?
        var next: PageID?
    }

    /// The most pages.
    package let capacity: Int
    private var pages: [Page] = []
    private var free: [PageID] = []
    private var tree: [Key: PageID] = [:]
    private var children: [Int: [PageID]] = [:]
    private var serials: [Int: PageID] = [:]
    private var nextSerial = 1
    /// Whether it is noted what pages held that are given up.
    private let notesLosses: Bool
    private var lost: [LostPage] = []
    private var kept: (first: PageID?, last: PageID?, count: Int) = (nil, nil, 0)

    /// A ledger of free pages.
    ///
    /// - Parameter notesLosses: Whether to note what pages held that are given up; see ``takeLostPages()``.
    package init(capacity: Int, notesLosses: Bool = false) {
        (self.capacity, self.notesLosses) = (capacity, notesLosses)
    }

    /// Pages that can be taken now.
    package var availableCount: Int { capacity - pages.count + free.count + kept.count }
    /// Pages that sequences hold.
    package var heldCount: Int { pages.count - free.count - kept.count }
    /// Pages that nobody holds and whose content may be used again.
    package var keptCount: Int { kept.count }

    /// What stands above the first page of a family of sequences.
    package static func root(of family: Int) -> Int { -1 - family }

    /// Takes free pages, held once; nil when there are not as many.
    package mutating func take(_ count: Int) -> [PageID]? {
        guard count <= availableCount else { return nil }
        return (0..<count).map { _ in
            let id = freePage()
            pages[id] = Page(holders: 1)
            return id
        }
    }

    private mutating func freePage() -> PageID {
        if let id = free.popLast() { return id }
        if pages.count < capacity {
            pages.append(Page())
            return pages.count - 1
        }
        guard let oldest = kept.first else { preconditionFailure("no page is left") }
        if notesLosses, let page = content(of: oldest) { lost.append(page) }
        forget(oldest)
        return oldest
    }

    /// The pages given up since this was last asked, which still hold what they held until somebody writes to them.
    package mutating func takeLostPages() -> [LostPage] {
        guard !lost.isEmpty else { return [] }
        defer { lost = [] }
        return lost
    }

    /// What the pages of the tree hold: first those that nobody holds, from the one unused for longest.
    package func contents() -> [LostPage] {
        var ids: [PageID] = []
        var next = kept.first
        while let id = next {
            ids.append(id)
            next = pages[id].next
        }
        ids += pages.indices.filter { pages[$0].holders > 0 }
        return ids.compactMap { content(of: $0) }
    }

    /// What a page of the tree holds, together with those above it; nil where one of them has been forgotten.
    private func content(of id: PageID) -> LostPage? {
        var parts: [PageContent] = []
        var place = id
        while let key = pages[place].key {
            parts.append(key.content)
            if key.parent < 0 {
                return LostPage(
                    id: id, family: -1 - key.parent, tokens: parts.reversed().flatMap(\.tokens),
                    longCount: parts.reduce(0) { $0 + $1.longCount })
            }
            guard let above = serials[key.parent] else { return nil }
            place = above
        }
        return nil
    }

    /// Holds pages that are in the tree.
    package mutating func hold(_ ids: [PageID]) {
        for id in ids {
            if pages[id].holders == 0 { unkeep(id) }
            pages[id].holders += 1
        }
    }

    /// Gives a sequence's pages back, which are in its order.
    package mutating func release(_ ids: [PageID]) {
        // Pages further down first, so that they are given up before those above them
        for id in ids.reversed() {
            pages[id].holders -= 1
            guard pages[id].holders == 0 else { continue }
            if pages[id].key == nil { free.append(id) } else { keep(id) }
        }
    }

    /// Where a page stands in the tree.
    package func serial(of id: PageID) -> Int { pages[id].serial }

    /// The page below another with this content.
    package func page(below parent: Int, _ content: PageContent) -> PageID? {
        tree[Key(parent: parent, content: content)]
    }

    /// The page below another that begins most like this, and in how many positions.
    ///
    /// - Parameter content: The tokens of a page or of its beginning.
    package func page(below parent: Int, mostLike content: PageContent) -> (id: PageID, count: Int)? {
        var best: (id: PageID, count: Int)?
        for id in children[parent] ?? [] {
            guard let its = pages[id].key?.content else { continue }
            let alike = its.commonPrefix(with: content)
            if alike > best?.count ?? 0 { best = (id, alike) }
        }
        return best
    }

    /// Enters a full page that a sequence has computed into the tree. Where another page there has the same content,
    /// the sequence holds that one from now on.
    package mutating func enter(_ id: PageID, below parent: Int, _ content: PageContent) -> PageID {
        let key = Key(parent: parent, content: content)
        if let known = tree[key] {
            hold([known])
            release([id])
            return known
        }
        pages[id].key = key
        pages[id].serial = nextSerial
        serials[nextSerial] = id
        nextSerial += 1
        tree[key] = id
        children[parent, default: []].append(id)
        return id
    }

    /// Forgets what kept pages hold, so that no later sequence begins with it. Pages in use are forgotten when they are
    /// given back.
    package mutating func forgetContents() {
        while let id = kept.first {
            forget(id)
            free.append(id)
        }
        for id in pages.indices where pages[id].key != nil { leaveTree(id) }
    }

    // MARK: - Kept pages

    private mutating func keep(_ id: PageID) {
        pages[id].previous = kept.last
        pages[id].next = nil
        if let last = kept.last { pages[last].next = id } else { kept.first = id }
        kept.last = id
        kept.count += 1
    }

    private mutating func unkeep(_ id: PageID) {
        let (previous, next) = (pages[id].previous, pages[id].next)
        if let previous { pages[previous].next = next } else { kept.first = next }
        if let next { pages[next].previous = previous } else { kept.last = previous }
        kept.count -= 1
    }

    private mutating func forget(_ id: PageID) {
        unkeep(id)
        leaveTree(id)
    }

    private mutating func leaveTree(_ id: PageID) {
        guard let key = pages[id].key else { return }
        tree[key] = nil
        children[key.parent]?.removeAll { $0 == id }
        if children[key.parent]?.isEmpty ?? false { children[key.parent] = nil }
        serials[pages[id].serial] = nil
        pages[id].key = nil
    }
}

/// A page that is given up, and what it holds.
package struct LostPage: Sendable, Hashable {
    package var id: PageID
    package var family: Int
    /// The tokens of the sequence up to the page's end.
    package var tokens: [Int32]
    /// How many of the first were computed in long runs.
    package var longCount: Int
}

/// What a page of a sequence holds: the tokens at its positions, and how many of its first positions are computed in long
/// runs, the others in short ones.
package struct PageContent: Sendable, Hashable {
    package var tokens: [Int32]
    package var longCount: Int

    package init(tokens: [Int32], longCount: Int) {
        self.tokens = tokens
        self.longCount = longCount
    }

    /// How many first tokens are the same and computed the same way.
    func commonPrefix(with other: PageContent) -> Int {
        let alike = zip(tokens, other.tokens).prefix { $0 == $1 }.count
        return longCount == other.longCount ? alike : min(alike, longCount, other.longCount)
    }
}
