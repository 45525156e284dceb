import Foundation
import MoruBase
import MoruEngine
import MoruText
import Synchronization
import Testing

@testable import MoruServer

@Suite struct LabellingEngineTests {
    private final class Network: Sendable {}

    /// What a gate holds back: a computation that waits until it is let go, on the engine's thread.
    private final class Gate: Sendable {
        private let state = Mutex((open: false, waits: false))
        let batches = Mutex<[[TokenSequence]]>([])

        var isWaiting: Bool { state.withLock { $0.waits } }
        func open() { state.withLock { $0.open = true } }

        func compute(_ batch: [TokenSequence]) -> [[Float]] {
            batches.withLock { $0.append(batch) }
            state.withLock { $0.waits = true }
            while !state.withLock({ $0.open }) { Thread.sleep(forTimeInterval: 0.001) }
            return batch.map { [Float($0.ids.count), Float($0.ids[0])] }
        }
    }

    private func model(_ network: Network) -> LabellingEngine.Model {
        LabellingEngine.Model(network: ObjectIdentifier(network), adapter: nil, isClassifier: true, skippedTokens: 0)
    }

    private func until(_ condition: () -> Bool) async throws {
        while !condition() { try await Task.sleep(for: .milliseconds(1)) }
    }

    @Test func whoWaitsIsComputedTogether() async throws {
        let (engine, gate, network) = (LabellingEngine(maximumTokens: nil, maximumSeconds: nil), Gate(), Network())
        let first = Task { [model = model(network)] in
            try await engine.rows(of: [.init([7])], with: model) { gate.compute($0) }
        }
        try await until { gate.isWaiting }
        let others = (1...3).map { number in
            Task { [model = model(network)] in
                try await engine.rows(of: [.init([Int32(number)]), .init([Int32(number), 0])], with: model) {
                    gate.compute($0)
                }
            }
        }
        try await until { engine.waitingTokens == 1 + 3 * 3 }
        gate.open()
        #expect(try await first.value == [[1, 7]])
        for (number, other) in zip(1..., others) {
            #expect(try await other.value == [[1, Float(number)], [2, Float(number)]])
        }
        #expect(gate.batches.withLock { $0.map(\.count) } == [1, 6])
        #expect(engine.waitingTokens == 0)
    }

    @Test func whoGivesUpIsNotComputed() async throws {
        let (engine, gate, network) = (LabellingEngine(maximumTokens: nil, maximumSeconds: nil), Gate(), Network())
        let first = Task { [model = model(network)] in
            try await engine.rows(of: [.init([7])], with: model) { gate.compute($0) }
        }
        try await until { gate.isWaiting }
        let second = Task { [model = model(network)] in
            try await engine.rows(of: [.init([8, 8])], with: model) { gate.compute($0) }
        }
        try await until { engine.waitingTokens == 3 }
        second.cancel()
        gate.open()
        await #expect(throws: CancellationError.self) { try await second.value }
        #expect(try await first.value == [[1, 7]])
        #expect(gate.batches.withLock { $0 } == [[TokenSequence([7])]] && engine.waitingTokens == 0)
        let gone = Task { [model = model(network)] in
            withUnsafeCurrentTask { $0?.cancel() }
            return try await engine.rows(of: [.init([9])], with: model) { gate.compute($0) }
        }
        await #expect(throws: CancellationError.self) { try await gone.value }
        #expect(engine.waitingTokens == 0)
    }

    @Test func refusesWhenTooMuchWaits() async throws {
        let (engine, gate, network) = (LabellingEngine(maximumTokens: 5, maximumSeconds: nil), Gate(), Network())
        let first = Task { [model = model(network)] in
            try await engine.rows(of: [.init([1, 2, 3, 4])], with: model) { gate.compute($0) }
        }
        try await until { gate.isWaiting }
        let error = await #expect(throws: MoruError.self) {
            try await engine.rows(of: [.init([1, 2])], with: model(network)) { gate.compute($0) }
        }
        #expect(error?.code == .engineOverloaded && error?.cause is EngineOverload)
        gate.open()
        _ = try await first.value
        #expect(try await engine.rows(of: [.init([1, 2])], with: model(network)) { gate.compute($0) } == [[2, 1]])
        #expect(engine.waitingTokens == 0)
    }

    @Test func numbersThatAreNotFiniteAreAnError() async throws {
        let (engine, network) = (LabellingEngine(maximumTokens: nil, maximumSeconds: nil), Network())
        let error = await #expect(throws: MoruError.self) {
            try await engine.rows(of: [.init([1]), .init([2])], with: model(network)) {
                $0.map { [1 / Float($0.ids[0] - 2)] }
            }
        }
        #expect(error?.code == .labelsNotFinite)
        #expect(try await engine.rows(of: [], with: model(network)) { _ in [] } == [] && engine.waitingTokens == 0)
    }
}
