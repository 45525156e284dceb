/// Finds stop strings in text that comes in pieces.
///
/// Text is held back only as long as it could still become a stop string. Of several, the one that is complete first
/// counts (of those, the one that began first), so that the result does not depend on where the pieces end.
struct StopStringMatcher: Sendable {
    private let stops: [(text: String, bytes: [UInt8])]
    private var held: [UInt8] = []
    /// The stop string that was found.
    private(set) var found: String?

    /// Empty stop strings are left out.
    init(_ stops: [String]) {
        self.stops = stops.map { ($0, Array($0.utf8)) }.filter { !$0.bytes.isEmpty }
            .sorted { $0.bytes.count > $1.bytes.count }
    }

    /// Takes in more text; returns the text that is now certain to be part of the answer.
    mutating func append(_ text: String) -> String {
        guard found == nil else { return "" }
        if stops.isEmpty { return text }
        let first = held.count
        held += text.utf8
        for end in first..<held.count {
            if let stop = stops.first(where: { held[...end].reversed().starts(with: $0.bytes.reversed()) }) {
                found = stop.text
                defer { held = [] }
                return String(decoding: held[...end].dropLast(stop.bytes.count), as: UTF8.self)
            }
        }
        return release(held.count - possibleStart)
    }

    /// Ends the text; returns what was held back.
    mutating func finish() -> String { release(held.count) }

    /// The number of bytes at the end that may be the beginning of a stop string.
    private var possibleStart: Int {
        let longest = min(held.count, (stops.first?.bytes.count ?? 1) - 1)
        for count in stride(from: longest, to: 0, by: -1) {
            let end = held.suffix(count)
            if stops.contains(where: { $0.bytes.count > count && $0.bytes.starts(with: end) }) { return count }
        }
        return 0
    }

    private mutating func release(_ count: Int) -> String {
        defer { held.removeFirst(count) }
        return String(decoding: held.prefix(count), as: UTF8.self)
    }
}
