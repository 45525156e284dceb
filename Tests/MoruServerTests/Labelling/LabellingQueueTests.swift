import Testing

@testable import MoruServer

@Suite struct LabellingQueueTests {
    private func batches(_ queue: inout LabellingQueue<String>, limit: Int) -> [[LabellingQueue<String>.Share]] {
        var batches: [[LabellingQueue<String>.Share]] = []
        while !queue.isEmpty { batches.append(queue.nextBatch(limit: limit)) }
        return batches
    }

    @Test func requestsTakeTurns() {
        var queue = LabellingQueue<String>()
        queue.add(1, model: "a", costs: Array(repeating: 10, count: 9))
        queue.add(2, model: "a", costs: [10, 10])
        // The small request is done with the first batch, though the large one came before
        #expect(
            batches(&queue, limit: 40) == [
                [.init(request: 1, texts: 0..<2), .init(request: 2, texts: 0..<2)],
                [.init(request: 1, texts: 2..<6)], [.init(request: 1, texts: 6..<9)],
            ])
    }

    @Test func modelsTakeTurns() {
        var queue = LabellingQueue<String>()
        queue.add(1, model: "a", costs: [10, 10, 10])
        queue.add(2, model: "b", costs: [10, 10])
        let models = batches(&queue, limit: 10).map { $0.map(\.request) }
        #expect(models == [[1], [2], [1], [2], [1]])
    }

    @Test func aTextBeyondTheLimitIsReadAlone() {
        var queue = LabellingQueue<String>()
        queue.add(1, model: "a", costs: [5, 90, 5])
        queue.add(2, model: "a", costs: [90])
        #expect(
            batches(&queue, limit: 20) == [
                [.init(request: 1, texts: 0..<1)], [.init(request: 2, texts: 0..<1)],
                [.init(request: 1, texts: 1..<2)], [.init(request: 1, texts: 2..<3)],
            ])
    }

    @Test func whoIsTakenOutIsNotServed() {
        var queue = LabellingQueue<String>()
        queue.add(1, model: "a", costs: [1, 1])
        queue.add(2, model: "a", costs: [1])
        queue.remove(1)
        #expect(queue.nextBatch(limit: 9) == [.init(request: 2, texts: 0..<1)] && queue.isEmpty)
        #expect(queue.nextBatch(limit: 9).isEmpty)
    }

    /// Whatever the texts, each is read once and in its order, and no batch is larger than it may be.
    @Test func everyTextIsReadOnce() {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<200 {
            var queue = LabellingQueue<String>()
            var costs: [Int: [Int]] = [:]
            for id in 0..<Int.random(in: 1...8, using: &random) {
                let own = (0..<Int.random(in: 1...9, using: &random)).map { _ in Int.random(in: 1...30, using: &random)
                }
                costs[id] = own
                queue.add(id, model: ["a", "b"].randomElement(using: &random) ?? "a", costs: own)
            }
            var done: [Int: Int] = [:]
            for batch in batches(&queue, limit: 40) {
                let tokens = batch.flatMap { costs[$0.request]?[$0.texts] ?? [] }
                #expect(!tokens.isEmpty && (tokens.count == 1 || tokens.reduce(0, +) <= 40))
                for share in batch {
                    #expect(share.texts.lowerBound == done[share.request, default: 0])
                    done[share.request] = share.texts.upperBound
                }
            }
            #expect(done == costs.mapValues(\.count))
        }
    }
}
