import NIOCore
import Synchronization

/// Knows whether a connection's client has gone away.
///
/// A client that closes its side of the connection while it waits for an answer counts as gone.
final class ConnectionMonitor: Sendable {
    private struct State {
        var isClosed = false
        var nextKey = 0
        var actions: [Int: @Sendable () -> Void] = [:]
    }

    /// The connection of the request that the current task answers.
    @TaskLocal static var channel: (any Channel)?

    private let state = Mutex(State())

    /// Runs an operation, and cancels it when the client of the request that the current task answers, if it answers
    /// any, goes away.
    ///
    /// - Throws: What the operation throws, and `CancellationError` when the client is gone already.
    static func cancellingOnClose<Value: Sendable>(
        _ operation: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        guard let channel else { return try await operation() }
        return try await ConnectionMonitorHandler.monitor(of: channel).cancellingOnClose(operation)
    }

    /// Runs an operation, and cancels it when the client goes away.
    ///
    /// - Throws: What the operation throws.
    func cancellingOnClose<Value: Sendable>(
        _ operation: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        let task = Task(operation: operation)
        let key = add { task.cancel() }
        defer { remove(key) }
        return try await withTaskCancellationHandler {
            try await task.value
        } onCancel: {
            task.cancel()
        }
    }

    /// Notes that the client has gone.
    func close() {
        let actions = state.withLock { state in
            state.isClosed = true
            defer { state.actions = [:] }
            return Array(state.actions.values)
        }
        for action in actions { action() }
    }

    private func add(_ action: @escaping @Sendable () -> Void) -> Int {
        let (key, isClosed) = state.withLock { state in
            state.nextKey += 1
            if !state.isClosed { state.actions[state.nextKey] = action }
            return (state.nextKey, state.isClosed)
        }
        if isClosed { action() }
        return key
    }

    private func remove(_ key: Int) { state.withLock { _ = $0.actions.removeValue(forKey: key) } }
}

/// Tells a connection's ``ConnectionMonitor`` when the client closes.
final class ConnectionMonitorHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = Any
    typealias InboundOut = Any

    let monitor = ConnectionMonitor()

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? ChannelEvent, event == .inputClosed { monitor.close() }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        monitor.close()
        context.fireChannelInactive()
    }

    /// The monitor of a connection.
    ///
    /// - Throws: `CancellationError` when the connection has lost its handlers, which it does when it is closed.
    static func monitor(of channel: any Channel) async throws -> ConnectionMonitor {
        let monitor = try await channel.eventLoop.submit {
            try? channel.pipeline.syncOperations.handler(type: ConnectionMonitorHandler.self).monitor
        }.get()
        guard let monitor else { throw CancellationError() }
        return monitor
    }
}
