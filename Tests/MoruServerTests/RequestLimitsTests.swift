import MoruBase
import ServiceLifecycleTestKit
import Testing

@testable import MoruServer

@Suite struct RequestLimitsTests {
    private let forever: @Sendable () async throws -> Void = { try await Task.sleep(for: .seconds(60)) }

    @Test func letsARequestThroughInTime() async throws {
        try await RequestLimits(timeout: .seconds(60), shutdownGrace: .zero).apply {}
        try await RequestLimits(timeout: nil, shutdownGrace: .zero).apply {}
    }

    @Test func endsOneThatTakesTooLong() async {
        let limits = RequestLimits(timeout: .milliseconds(1), shutdownGrace: .zero)
        let error = await #expect(throws: MoruError.self) { try await limits.apply(forever) }
        #expect(error?.code == .requestTimeout)
    }

    @Test func endsOneThatOutlastsTheServer() async {
        let limits = RequestLimits(timeout: nil, shutdownGrace: .milliseconds(1))
        let error = await #expect(throws: MoruError.self) {
            try await testGracefulShutdown { trigger in
                trigger.triggerGracefulShutdown()
                try await limits.apply(forever)
            }
        }
        #expect(error?.code == .serverStopping)
    }

    @Test func endsWithItsTask() async {
        let limits = RequestLimits(timeout: nil, shutdownGrace: .zero)
        let task = Task { try await limits.apply(forever) }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
    }
}
