import Foundation
import MoruBase
import Synchronization

/// Progress of long work on standard error: a bar that is redrawn on a terminal, a line now and then elsewhere.
final class ProgressLine: Sendable {
    private struct State {
        var lastDrawn: ContinuousClock.Instant?
        /// Where the rate is counted from: what was done before, as by an earlier run, took none of this time.
        var begin: (instant: ContinuousClock.Instant, done: Int)?
        var isOpen = false
        var isComplete = false
    }

    private let title: String
    private let unit: String
    private let state = Mutex(State())

    /// Begins.
    ///
    /// - Parameters:
    ///   - title: What is being done.
    ///   - unit: What is counted, such as `examples`, or `bytes`.
    init(_ title: String, unit: String) {
        self.title = title
        self.unit = unit
    }

    /// Shows how far it is.
    ///
    /// - Parameters:
    ///   - done: Units done.
    ///   - total: Units in all, if known.
    ///   - detail: What else to show.
    func update(_ done: Int, of total: Int?, detail: String = "") {
        let isLast = done == total
        let interval: Duration = Terminal.talkIsInteractive ? .milliseconds(100) : .seconds(5)
        state.withLock { state in
            let now = ContinuousClock.now
            if state.begin.map({ done < $0.done }) ?? true { state.begin = (now, done) }
            if let last = state.lastDrawn, now - last < interval, !isLast { return }
            if isLast, state.isComplete { return }
            state.lastDrawn = now
            state.isComplete = isLast
            state.isOpen = true
            let begin = state.begin ?? (now, done)
            let rate = Double(done - begin.done) / max(0.001, (now - begin.instant) / .seconds(1))
            draw(done, total, rate: now - begin.instant > .seconds(1) ? rate : 0, detail)
        }
    }

    /// Ends the line, so that other text can follow.
    func finish() {
        state.withLock { state in
            if state.isOpen, Terminal.talkIsInteractive { Terminal.talk("") }
            state.isOpen = false
        }
    }

    private func draw(_ done: Int, _ total: Int?, rate: Double, _ detail: String) {
        var text = "\(title) "
        if let total, total > 0 {
            let share = min(1, Double(done) / Double(total))
            if Terminal.talkIsInteractive { text += Self.bar(share) + " " }
            text += "\(Int(share * 100)) %  \(number(Double(done))) of \(amount(total))"
            if rate > 0, done < total {
                text += "  \(number(rate))/s  \(Self.time(Double(total - done) / rate)) left"
            }
        } else {
            text += amount(done)
        }
        if !detail.isEmpty { text += "  \(detail)" }
        if Terminal.talkIsInteractive {
            Terminal.talk("\r\u{1B}[K" + String(text.prefix(max(20, Terminal.width - 1))), terminator: "")
        } else {
            Terminal.talk(text)
        }
    }

    private static func bar(_ share: Double) -> String {
        let width = 24
        let filled = Int(share * Double(width))
        return String(repeating: "█", count: filled) + String(repeating: "░", count: width - filled)
    }

    private func amount(_ count: Int) -> String { unit == "bytes" ? ByteCount.text(count) : "\(count) \(unit)" }

    private func number(_ value: Double) -> String {
        unit == "bytes"
            ? ByteCount.text(Int(value)) : Format.fixed(value, value < 10 && value != value.rounded() ? 1 : 0)
    }

    private static func time(_ seconds: Double) -> String { Format.duration(seconds) }
}
