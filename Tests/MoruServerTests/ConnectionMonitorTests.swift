import MoruBase
import Testing

@testable import MoruServer

@Suite struct ConnectionMonitorTests {
    @Test func cancelsWhatIsRunning() async {
        let monitor = ConnectionMonitor()
        let (begun, continuation) = AsyncStream.makeStream(of: Void.self)
        let task = Task {
            try await monitor.cancellingOnClose {
                continuation.finish()
                try await Task.sleep(for: .seconds(60))
            }
        }
        for await _ in begun {}
        monitor.close()
        await #expect(throws: CancellationError.self) { try await task.value }
    }

    @Test func cancelsWhatComesTooLate() async {
        let monitor = ConnectionMonitor()
        monitor.close()
        await #expect(throws: CancellationError.self) {
            try await monitor.cancellingOnClose { try await Task.sleep(for: .seconds(60)) }
        }
    }

    @Test func handsResultsBack() async throws {
        #expect(try await ConnectionMonitor().cancellingOnClose { 5 } == 5)
    }
}
