/// The requests whose texts are waiting, and whose turn it is.
///
/// A batch belongs to one model. Its requests take turns text by text, so that a small request need not wait for a large
/// one; and the models take turns batch by batch. A value without I/O.
struct LabellingQueue<Model: Hashable & Sendable>: Sendable {
    /// The texts of one request in the next batch.
    struct Share: Sendable, Hashable {
        var request: Int
        var texts: Range<Int>
    }

    private struct Request: Sendable {
        let id: Int
        let model: Model
        /// Tokens of each text.
        let costs: [Int]
        var next = 0
    }

    private var requests: [Request] = []

    /// Appends a request.
    ///
    /// - Parameter costs: The tokens of its texts; at least one text.
    mutating func add(_ id: Int, model: Model, costs: [Int]) {
        precondition(!costs.isEmpty, "a request without texts waits for nothing")
        requests.append(Request(id: id, model: model, costs: costs))
    }

    /// Removes a request.
    mutating func remove(_ id: Int) { requests.removeAll { $0.id == id } }

    /// Whether nothing is waiting.
    var isEmpty: Bool { requests.isEmpty }

    /// Takes out the next batch: texts of the model that has waited longest, at least one, and as many as fit into
    /// `limit` tokens.
    mutating func nextBatch(limit: Int) -> [Share] {
        guard let model = requests.first?.model else { return [] }
        let mine = requests.indices.filter { requests[$0].model == model }
        var (ends, tokens, takes) = (mine.map { requests[$0].next }, 0, Array(repeating: true, count: mine.count))
        while takes.contains(true) {
            for (place, index) in mine.enumerated() where takes[place] {
                let (request, end) = (requests[index], ends[place])
                guard end < request.costs.count, tokens == 0 || tokens + request.costs[end] <= limit else {
                    takes[place] = false
                    continue
                }
                tokens += request.costs[end]
                ends[place] += 1
            }
        }
        var (shares, unfinished): ([Share], [Request]) = ([], [])
        for (index, end) in zip(mine, ends) {
            var request = requests[index]
            if end > request.next { shares.append(Share(request: request.id, texts: request.next..<end)) }
            request.next = end
            if end < request.costs.count { unfinished.append(request) }
        }
        // Requests that got nothing this time come first in the model's next batch
        let served = Set(shares.map(\.request))
        unfinished = unfinished.filter { !served.contains($0.id) } + unfinished.filter { served.contains($0.id) }
        requests = requests.filter { $0.model != model } + unfinished
        return shares
    }
}
