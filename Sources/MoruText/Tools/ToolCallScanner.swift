import MoruBase

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
    private let parameters: [String: JSON]
    private var isInCall: Bool
    /// The mark that began the call, where there was one.
    private var mark = ""
    private var hasText = false
    /// Bytes at the beginning of what is held in which no mark that ends a call begins, so that a long call is not
    /// searched again with each piece.
    private var searched = 0

    /// Makes a scanner for the answers of a family of models.
    ///
    /// - Parameter parameters: The schemas of the functions' arguments, by the functions' names: some families write text
    ///   and numbers alike.
    public init(_ format: ToolCallFormat, parameters: [String: JSON] = [:]) {
        (self.format, self.parameters) = (format, parameters)
        // The prompt has ended in the mark
        isInCall = format == .recipients
    }

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
            if format == .recipients, held.hasPrefix(Self.everyone) {
                held.removeFirst(Self.everyone.count)
                (isInCall, searched) = (false, 0)
                return []
            }
            guard let end, let range = nextRange(of: end) else { return nil }
            let body = String(held[..<range.lowerBound])
            held = String(held[range.upperBound...])
            defer { (isInCall, mark) = (begin == end, begin == end ? begin : "") }
            return calls(in: body, end: begin == end ? "" : end)
        }
        if let opening = format.opening, !hasText, held.first(where: { !$0.isWhitespace }) == opening {
            // The answer is calls as a whole, or none at all
            isInCall = true
            return []
        }
        if let range = held.firstRange(of: begin) {
            let before = String(held[..<range.lowerBound])
            held = String(held[range.upperBound...])
            (isInCall, mark) = (true, begin)
            return text(before)
        }
        // All but what may turn out to begin a call
        let isOpen = format.opening != nil && !hasText && held.allSatisfy(\.isWhitespace)
        let certain = isOpen ? 0 : held.count - Self.overlap(of: held, with: begin)
        guard certain > 0 else { return nil }
        let out = String(held.prefix(certain))
        held = String(held.dropFirst(certain))
        return text(out)
    }

    /// Where a mark stands in what is held, of which the next pieces are searched only for what they may complete.
    private mutating func nextRange(of mark: String) -> Range<String.Index>? {
        let bytes = held.utf8
        let range = bytes[bytes.index(bytes.startIndex, offsetBy: searched)...].firstRange(of: mark.utf8)
        searched = range == nil ? max(searched, bytes.count - mark.utf8.count + 1) : 0
        return range
    }

    /// What Functionary begins text with.
    private static let everyone = "all\n"

    /// The calls of what stood between the marks; text again where it is none.
    ///
    /// - Parameter end: The mark that was found after it.
    private mutating func calls(in body: String, end: String = "") -> [Part] {
        if let calls = format.calls(in: body, parameters) { return calls.map { .call($0) } }
        return text(mark + body + end)
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
