/// Finds the calls of functions in an answer that comes in pieces.
///
/// What may be the beginning of a call is held back until that is certain; what looked like a call and is none is given
/// out as the text that it is, so that nothing is ever lost.
public struct ToolCallScanner: Sendable {
    /// What is found in an answer.
    public enum Part: Sendable, Hashable {
        /// Text that belongs to no call.
        case text(String)
        /// A call.
        case call(ToolCall)
    }

    private let format: ToolCallFormat
    private var held = ""
    private var isInCall = false
    private var hasText = false

    /// Makes a scanner for the answers of a family of models.
    public init(_ format: ToolCallFormat) { self.format = format }

    /// Takes the next piece of the answer.
    public mutating func append(_ piece: String) -> [Part] {
        held += piece
        var parts: [Part] = []
        while let part = next() { parts += part }
        return parts
    }

    /// Ends the answer.
    public mutating func finish() -> [Part] {
        defer { held = "" }
        if isInCall { return calls(in: held) }
        return text(held)
    }

    /// Something that is certain now; nil when more of the answer is needed.
    private mutating func next() -> [Part]? {
        let (begin, end) = format.marks
        if isInCall {
            guard let end, let range = held.firstRange(of: end) else { return nil }
            let body = String(held[..<range.lowerBound])
            held = String(held[range.upperBound...])
            isInCall = false
            return calls(in: body)
        }
        if format == .bare, !hasText, let first = held.first(where: { !$0.isWhitespace }), first == "{" {
            // The answer is a call as a whole, or none at all
            isInCall = true
            return []
        }
        if let range = held.firstRange(of: begin) {
            let before = String(held[..<range.lowerBound])
            held = String(held[range.upperBound...])
            isInCall = true
            return text(before)
        }
        // All but what may turn out to begin a call
        let isOpen = format == .bare && !hasText && held.allSatisfy(\.isWhitespace)
        let certain = isOpen ? 0 : held.count - Self.overlap(of: held, with: begin)
        guard certain > 0 else { return nil }
        let out = String(held.prefix(certain))
        held = String(held.dropFirst(certain))
        return text(out)
    }

    /// The calls of what stood between the marks; text again where it is none.
    private mutating func calls(in body: String) -> [Part] {
        if let calls = format.calls(in: body) { return calls.map { .call($0) } }
        let (begin, end) = format.marks
        if format == .bare { return text(body) }
        return text(begin + body + (end ?? ""))
    }

    private mutating func text(_ text: String) -> [Part] {
        // White space around calls is no answer
        guard !text.isEmpty, hasText || !text.allSatisfy(\.isWhitespace) else { return [] }
        hasText = true
        return [.text(text)]
    }

    /// How many characters at the end of a text are the beginning of a mark.
    private static func overlap(of text: String, with mark: String) -> Int {
        for count in stride(from: min(text.count, mark.count - 1), to: 0, by: -1)
        where text.suffix(count) == mark.prefix(count) {
            return count
        }
        return 0
    }
}
