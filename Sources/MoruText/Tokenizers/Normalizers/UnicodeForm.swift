/// A Unicode normalization form (UAX #15).
enum UnicodeForm: Sendable {
    case nfc, nfd, nfkc, nfkd

    /// The text in this form; bytes that are no valid UTF-8 pass unchanged.
    ///
    /// Only what may change is taken apart: a run of scalars that are not known to stay, with the one
    /// before it, up to the next that is known to start anew.
    func apply(_ text: [UInt8]) -> [UInt8] {
        text.withUnsafeBufferPointer { buffer in
            guard let bytes = buffer.baseAddress else { return text }
            let end = buffer.count
            var output: [UInt8] = []
            var copied = 0
            var previous = 0
            var position = 0
            while position < end {
                if bytes[position] < 0x80 {
                    previous = position
                    position += 1
                    continue
                }
                let (value, length) = decodeScalar(bytes, position, end)
                let verdict = standing(of: value)
                if verdict != .inDoubt {
                    previous = verdict == .apart ? position + length : position
                    position += length
                    continue
                }
                let runStart = previous
                position += length
                while position < end {
                    let (value, length) = decodeScalar(bytes, position, end)
                    if standing(of: value) != .inDoubt { break }
                    position += length
                }
                if output.isEmpty { output.reserveCapacity(end + end / 8) }
                output.append(contentsOf: buffer[copied..<runStart])
                let run = String(decoding: buffer[runStart..<position], as: UTF8.self)
                output.append(contentsOf: String(normalize(run)).utf8)
                copied = position
                previous = position
            }
            if copied == 0 { return text }
            output.append(contentsOf: buffer[copied...])
            return output
        }
    }

    private func normalize(_ text: String) -> String.UnicodeScalarView {
        let decomposed = Decompositions.shared.decompose(
            text.unicodeScalars, compatibly: self == .nfkc || self == .nfkd)
        let composes = self == .nfc || self == .nfkc
        return String.UnicodeScalarView(composes ? Decompositions.shared.compose(decomposed) : decomposed)
    }

    /// What is known of a scalar before any look at its neighbours.
    private enum Standing {
        /// Left alone, and starts anew: what follows may compose with it, but it with nothing before.
        case stable
        /// Left alone, and has nothing to do with its neighbours.
        case apart
        case inDoubt
    }

    private func standing(of value: UInt32) -> Standing {
        switch value {
        case 0..<0xA0: return .stable
        case 0xA0..<0x300: return self == .nfc ? .stable : .inDoubt
        case 0x4E00...0x9FFF: return .stable
        case 0xAC00...0xD7A3: return self == .nfc || self == .nfkc ? .stable : .inDoubt
        case 0x410...0x418, 0x41A...0x438, 0x43A...0x44F: return .stable
        case 0x3042...0x304A, 0x2013, 0x2014, 0x2018...0x201E, 0x2500...0x257F: return .stable
        case 0x1F300...0x1F64F: return .stable
        case UnicodeTable.invalid: return .apart
        // What is newer than the reference's data is to it a scalar without properties.
        default: return UnicodeTable.version9.isAssigned(value) ? .inDoubt : .apart
        }
    }
}
