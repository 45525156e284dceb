/// The clean-up of BERT's `BasicTokenizer`: control characters out, spaces around CJK ideographs, accents and case.
struct BertNormalizer: Sendable {
    let cleansText: Bool
    let separatesIdeographs: Bool
    let stripsAccents: Bool
    let lowercases: Bool

    private static let control: CategorySet = {
        [.init(rawValue: 1 << 25), .init(rawValue: 1 << 26), .init(rawValue: 1 << 27), .init(rawValue: 1 << 28)]
    }()

    func apply(_ text: [UInt8]) -> [UInt8] {
        let table = UnicodeTable.version8
        var text = text
        if cleansText || separatesIdeographs {
            text = text.mappingScalars(asciiUnchanged: false) { value, output in
                var value = value
                if cleansText {
                    if value == 0x09 || value == 0x0A || value == 0x0D {
                        value = 0x20
                    } else if value == 0 || value == 0xFFFD || table.isIn(Self.control, value) {
                        return
                    } else if table.isWhitespace(value) {
                        value = 0x20
                    }
                }
                if separatesIdeographs, Self.isIdeograph(value) {
                    output.append(0x20)
                    output.append(scalar: value)
                    output.append(0x20)
                } else {
                    output.append(scalar: value)
                }
            }
        }
        if stripsAccents {
            text = UnicodeForm.nfd.apply(text)
            text = text.mappingScalars(asciiUnchanged: true) { value, output in
                if !table.isIn(.nonspacingMark, value) { output.append(scalar: value) }
            }
        }
        if lowercases { text = Normalizer.lowercase.apply(text) }
        return text
    }

    /// The blocks BERT calls Chinese characters; one of them begins 0x100 late in the reference, and so here.
    private static func isIdeograph(_ value: UInt32) -> Bool {
        switch value {
        case 0x4E00...0x9FFF, 0x3400...0x4DBF, 0x20000...0x2A6DF, 0x2A700...0x2B73F, 0x2B740...0x2B81F,
            0x2B920...0x2CEAF, 0xF900...0xFAFF, 0x2F800...0x2FA1F:
            true
        default: false
        }
    }
}
