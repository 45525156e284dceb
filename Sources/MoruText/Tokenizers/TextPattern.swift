import MoruBase

/// What a Split or Replace component looks for: a literal or a regular expression.
enum TextPattern: Sendable {
    case literal([UInt8])
    case regex(RegexProgram)

    /// Calls a closure with each non-empty match, from the first to the last.
    func forEachMatch(
        in bytes: UnsafePointer<UInt8>, _ count: Int, _ body: (_ match: (start: Int, end: Int)) -> Void
    ) {
        var position = 0
        switch self {
        case .regex(let program):
            var search = RegexSearch(program, bytes, 0, count)
            while let match = search.next(from: position) {
                body(match)
                position = match.end
            }
        case .literal(let text):
            guard let first = text.first else { return }
            while position + text.count <= count {
                if bytes[position] == first,
                    text.withUnsafeBufferPointer({ text in
                        text.baseAddress.map { spansEqual($0, bytes + position, text.count) } ?? false
                    })
                {
                    body((position, position + text.count))
                    position += text.count
                } else {
                    position += 1
                }
            }
        }
    }

    /// The text with every match replaced.
    func replacing(_ text: [UInt8], with replacement: [UInt8]) -> [UInt8] {
        text.withUnsafeBufferPointer { buffer in
            guard let bytes = buffer.baseAddress else { return text }
            var result: [UInt8] = []
            result.reserveCapacity(text.count + text.count / 4)
            var position = 0
            forEachMatch(in: bytes, text.count) { match in
                result.append(contentsOf: buffer[position..<match.start])
                result.append(contentsOf: replacement)
                position = match.end
            }
            result.append(contentsOf: buffer[position...])
            return result
        }
    }
}
