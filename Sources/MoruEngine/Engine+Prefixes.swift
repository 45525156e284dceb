import MoruBase
import MoruModels
import MoruNN
import MoruTensor

/// A request that waits for pages from the disk.
struct RestoredPages: Sendable {
    let id: SequenceID
    /// What computed them.
    let computation: ContentDigest
    /// The place of the first of the pages in the sequence.
    let first: Int
    let contents: [[UInt8]]
}

/// What an engine needs to keep pages on disk.
struct DiskPrefixes {
    let directory: PrefixDirectory
    var keys: PrefixKeys
    /// Requests that wait for pages.
    var waiting: Set<SequenceID> = []
}

extension Engine {
    /// Writes what memory is about to be taken from. Called before anything is written to pages.
    func keepLostPages() {
        let lost = scheduler.takeLostPages()
        guard let disk else { return }
        for page in lost {
            guard let identity = identity(of: page, disk) else { continue }
            pages.withBytes(of: page.id) { disk.directory.write(identity, UnsafeRawBufferPointer($0)) }
        }
    }

    /// Writes what memory holds for later requests, those used last first, as much as the folder takes.
    func keepAllPages() {
        guard let disk else { return }
        var room = disk.directory.maximumBytes
        var chosen: [(LostPage, PrefixIdentity)] = []
        for page in scheduler.ledger.contents().reversed() {
            guard let identity = identity(of: page, disk) else { continue }
            room -= PrefixFile.byteCount(identity, pageBytes: pages.layout.pageBytes)
            guard room >= 0 else { break }
            chosen.append((page, identity))
        }
        // Those used last are written last, so that they stay the longest
        for (page, identity) in chosen.reversed() {
            pages.withBytes(of: page.id) { disk.directory.writeNow(identity, UnsafeRawBufferPointer($0)) }
        }
    }

    private func identity(of page: LostPage, _ disk: DiskPrefixes) -> PrefixIdentity? {
        disk.keys.computation(of: page.family).map {
            PrefixIdentity(computation: $0, tokens: page.tokens, longCount: page.longCount)
        }
    }

    /// Has the pages read that a request could begin with and that only the disk has.
    ///
    /// - Returns: Whether the request waits for them.
    func restore(for submission: Submission, family: Int) -> Bool {
        let request = submission.request
        guard let computation = disk?.keys.computation(of: family, request.adapter), let directory = disk?.directory,
            configuration.sharesPrefixes, request.reusesPrefixes, request.promptLogProbabilities == nil
        else { return false }
        let beginning = scheduler.beginning(
            prompt: request.prompt, maximumTokens: request.maximumTokens,
            virtualTokens: request.adapter?.virtualTokenCount ?? 0, family: family)
        var found: [PrefixIdentity] = []
        var identity = PrefixIdentity(computation: computation, tokens: [], longCount: 0)
        for (place, content) in beginning.contents.enumerated() {
            identity.tokens += content.tokens
            identity.longCount += content.longCount
            guard place >= beginning.known else { continue }
            // What has no room now would only push out what others use
            guard found.count < scheduler.ledger.availableCount, directory.contains(identity.key) else { break }
            found.append(identity)
        }
        guard !found.isEmpty else { return false }
        let (id, first) = (submission.id, beginning.known)
        let isRead = directory.read(found, pageBytes: pages.layout.pageBytes) { contents in
            self.take(RestoredPages(id: id, computation: computation, first: first, contents: contents))
        }
        if isRead { disk?.waiting.insert(id) }
        return isRead
    }

    /// Puts pages from the disk where a request finds them.
    func place(_ restored: RestoredPages, for request: GenerationRequest, family: Int) {
        // The model may have changed meanwhile
        guard disk?.keys.computation(of: family, request.adapter) == restored.computation else { return }
        let places = scheduler.restore(
            restored.contents.count, from: restored.first, prompt: request.prompt,
            maximumTokens: request.maximumTokens, virtualTokens: request.adapter?.virtualTokenCount ?? 0, family: family
        )
        keepLostPages()
        for (page, place) in places {
            pages.withBytes(of: page) { $0.copyBytes(from: restored.contents[place - restored.first]) }
        }
        guard let last = places.last?.place, let sequence = sequences[restored.id] else { return }
        let size = SequenceCache.pageTokens
        sequence.restored = restored.first * size..<(last + 1) * size
    }
}
