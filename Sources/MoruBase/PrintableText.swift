extension String {
    /// The text as a message may show it: not endless, and without what would steer a terminal. Messages quote what
    /// files and requests hold.
    ///
    /// - Parameter limit: The most characters that are kept, half of them from the end.
    package func printable(limit: Int = 2000) -> String {
        var text = self
        if utf8.count > limit, count > limit {
            let half = limit / 2
            text = "\(prefix(half))... (\(count - 2 * half) characters left out) ...\(suffix(half))"
        }
        guard text.unicodeScalars.contains(where: \.steersTerminals) else { return text }
        return text.unicodeScalars.reduce(into: "") { result, scalar in
            if scalar.steersTerminals {
                result += "\\u{" + String(scalar.value, radix: 16, uppercase: true) + "}"
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
    }
}

extension Unicode.Scalar {
    /// Whether it is a control character other than a tab or the end of a line, or turns the direction of text.
    fileprivate var steersTerminals: Bool {
        switch value {
        case 0x09, 0x0A: false
        case 0...0x1F, 0x7F...0x9F, 0x202A...0x202E, 0x2066...0x2069: true
        default: false
        }
    }
}
