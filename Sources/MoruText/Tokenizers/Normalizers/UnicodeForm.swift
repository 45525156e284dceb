import Foundation

/// A Unicode normalization form (UAX #15).
enum UnicodeForm: Sendable {
    case nfc, nfd, nfkc, nfkd

    /// The text in this form; bytes that are no valid UTF-8 pass unchanged.
    ///
    /// Only what may change goes through Foundation: a run of scalars that are not known to stay, with the one
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
                if value == UnicodeTable.invalid || isStable(value) {
                    // Nothing composes with a byte that is no scalar.
                    previous = value == UnicodeTable.invalid ? position + length : position
                    position += length
                    continue
                }
                let runStart = previous
                position += length
                while position < end {
                    let (value, length) = decodeScalar(bytes, position, end)
                    if value == UnicodeTable.invalid || isStable(value) { break }
                    position += length
                }
                if output.isEmpty { output.reserveCapacity(end + end / 8) }
                if runStart > copied { output.append(contentsOf: buffer[copied..<runStart]) }
                let run = String(decoding: buffer[max(runStart, copied)..<position], as: UTF8.self)
                output.append(contentsOf: normalize(run).utf8)
                copied = position
                previous = position
            }
            if copied == 0 { return text }
            output.append(contentsOf: buffer[copied...])
            return output
        }
    }

    private func normalize(_ text: String) -> String {
        switch self {
        // By way of the decomposed form: on its own, Foundation leaves a Hangul LV syllable and a trailing T apart.
        case .nfc: text.decomposedStringWithCanonicalMapping.precomposedStringWithCanonicalMapping
        case .nfd: text.decomposedStringWithCanonicalMapping
        case .nfkc: text.decomposedStringWithCompatibilityMapping.precomposedStringWithCanonicalMapping
        case .nfkd: text.decomposedStringWithCompatibilityMapping
        }
    }

    /// Whether a scalar is known to be left alone by this form and to start anew (nothing composes across it).
    private func isStable(_ value: UInt32) -> Bool {
        switch value {
        case 0..<0x80: return true
        case 0x80..<0xA0: return true
        case 0xA0..<0x300: return self == .nfc
        case 0x4E00...0x9FFF: return true
        case 0xAC00...0xD7A3: return self == .nfc || self == .nfkc
        case 0x410...0x418, 0x41A...0x438, 0x43A...0x44F: return true
        case 0x3042...0x304A, 0x2013, 0x2014, 0x2018...0x201E, 0x2500...0x257F: return true
        case 0x1F300...0x1F64F: return true
        // What is newer than the reference's data is to it a scalar without properties.
        default: return !UnicodeTable.version9.isAssigned(value)
        }
    }
}
