import MoruBase

/// What a Split or Replace component looks for: a literal or a regular expression.
enum TextPattern: Sendable {
    case literal([UInt8])
    case regex(RegexProgram)

    /// The next non-empty match at or after `position`, or nil.
    func firstMatch(
        _ bytes: UnsafePointer<UInt8>, _ start: Int, _ end: Int, from position: Int
    ) -> (start: Int, end: Int)? {
        switch self {
        case .regex(let program): return program.firstMatch(bytes, start, end, from: position)
        case .literal(let text):
            guard let first = text.first else { return nil }
            var position = position
            while position + text.count <= end {
                if bytes[position] == first,
                    text.withUnsafeBufferPointer({ text in
                        text.baseAddress.map { spansEqual($0, bytes + position, text.count) } ?? false
                    })
                {
                    return (position, position + text.count)
                }
                position += 1
            }
            return nil
        }
    }

    /// The text with every match replaced.
    func replacing(_ text: [UInt8], with replacement: [UInt8]) -> [UInt8] {
        text.withUnsafeBufferPointer { buffer in
            guard let bytes = buffer.baseAddress else { return text }
            var result: [UInt8] = []
            result.reserveCapacity(text.count + text.count / 4)
            var position = 0
            while let match = firstMatch(bytes, 0, text.count, from: position) {
                result.append(contentsOf: buffer[position..<match.start])
                result.append(contentsOf: replacement)
                position = match.end
            }
            result.append(contentsOf: buffer[position...])
            return result
        }
    }
}
