import Dispatch
import MoruBase
import Synchronization

/// Follows one text through a grammar for somebody who must not wait: what is not known at once is looked for on other
/// threads, for a few milliseconds at a time, so that no grammar keeps others waiting.
package final class GrammarFollower: Sendable {
    /// How a text may go on.
    package struct Step: Sendable {
        /// The tokens that it may go on with.
        package let allowed: TokenMask
        /// Whether it is complete as it is.
        package let mayEnd: Bool
        /// Whether it is complete and nothing can follow.
        package let mustEnd: Bool
    }

    private struct State {
        var matcher: GrammarMatcher
        /// A token that has not been read yet.
        var unread: Int32?
        /// Whether the text is complete and nothing can follow, where that is known.
        var mustEnd: Bool?
        /// How the text goes on; nil while that is looked for.
        var step: Result<Step, MoruError>?
        var isRepeated = false
        var onReady: (@Sendable () -> Void)?
        var waiter: DispatchSemaphore?
    }

    private let state: Mutex<State>
    private let queue: DispatchQueue

    /// Follows a text from where a matcher is.
    package init(_ matcher: GrammarMatcher) {
        state = Mutex(State(matcher: matcher))
        queue = matcher.queue
        begin()
    }

    /// The text so far, but for a token that has not been read yet.
    package var bytes: [UInt8] { state.withLock { $0.matcher.bytes } }

    /// Appends a token that the step allows.
    package func accept(_ id: Int32) {
        state.withLock { state in
            (state.step, state.mustEnd, state.isRepeated) = (nil, nil, false)
            if !state.matcher.acceptKnown(id) { state.unread = id }
        }
        begin()
    }

    /// Whether the text is complete and nothing can follow; nil where that is still looked for.
    package var mustEnd: Bool? { state.withLock { $0.mustEnd } }

    /// How the text goes on; nil where that is not known in time.
    ///
    /// - Throws: ``MoruError/Code/grammarTooLarge``.
    package func step(until deadline: DispatchTime) throws(MoruError) -> Step? {
        let (step, waiter) = state.withLock { state in
            let waiter = state.step == nil ? DispatchSemaphore(value: 0) : nil
            state.waiter = waiter
            return (state.step, waiter)
        }
        if let step { return try step.get() }
        _ = waiter?.wait(timeout: deadline)
        return try state.withLock { $0.step }?.get()
    }

    /// Whether it is known how the text goes on.
    package var isReady: Bool { state.withLock { $0.step != nil } }

    /// Calls a closure once as soon as it is known how the text goes on, from any thread; at once where it is.
    package func whenReady(_ action: @escaping @Sendable () -> Void) {
        let isReady = state.withLock { state in
            if state.step == nil { state.onReady = action }
            return state.step != nil
        }
        if isReady { action() }
    }

    private func begin() {
        let isReady = state.withLock { state in
            guard state.unread == nil, let known = state.matcher.grammar.known(of: state.matcher) else { return false }
            state.mustEnd = known.mustEnd
            guard let allowed = known.allowed else { return false }
            state.step = .success(Step(allowed: allowed, mayEnd: known.mayEnd, mustEnd: known.mustEnd))
            return true
        }
        if !isReady { lookOn() }
    }

    /// Looks for the step, a slice at a time, for as long as somebody wants it.
    private func lookOn() {
        queue.async { [weak self] in
            guard let self else { return }
            if !look() { lookOn() }
        }
    }

    private func look() -> Bool {
        // Nobody else changes the matcher meanwhile
        var (matcher, unread, isRepeated) = state.withLock { ($0.matcher, $0.unread, $0.isRepeated) }
        if let id = unread { matcher.accept(id) }
        let result: Result<Step, MoruError>?
        do throws(MoruError) {
            let allowed = try matcher.grammar.lookForAllowed(after: matcher, &isRepeated)
            let ending = matcher.grammar.ending(of: matcher)
            result = allowed.map { .success(Step(allowed: $0, mayEnd: ending.may, mustEnd: ending.must)) }
        } catch {
            result = .failure(error)
        }
        let (waiter, action) = state.withLock { state in
            (state.matcher, state.unread, state.isRepeated, state.step) = (matcher, nil, isRepeated, result)
            guard result != nil else { return (DispatchSemaphore?.none, (@Sendable () -> Void)?.none) }
            defer { (state.waiter, state.onReady) = (nil, nil) }
            return (state.waiter, state.onReady)
        }
        waiter?.signal()
        action?()
        return result != nil
    }
}
