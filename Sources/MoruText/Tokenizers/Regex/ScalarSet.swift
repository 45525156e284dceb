/// A set of Unicode scalars, as a character class of a regular expression describes it.
struct ScalarSet: Sendable {
    /// What a set is made of; the set is the union of its items, then negated if asked.
    enum Item: Sendable {
        case range(ClosedRange<UInt32>)
        case categories(CategorySet)
        case whitespace
        case word
        case nested(ScalarSet)
    }

    private(set) var items: [Item]
    private(set) var isNegated: Bool
    private let asciiLow: UInt64
    private let asciiHigh: UInt64

    init(_ items: [Item], negated: Bool = false) {
        self.items = items
        isNegated = negated
        var low: UInt64 = 0
        var high: UInt64 = 0
        for value in UInt32(0)..<128 where Self.evaluate(items, value) != negated {
            if value < 64 { low |= 1 << UInt64(value) } else { high |= 1 << UInt64(value - 64) }
        }
        asciiLow = low
        asciiHigh = high
    }

    /// Whether the set has `value`; what is no scalar counts as unassigned.
    @inline(__always)
    func contains(_ value: UInt32) -> Bool {
        if value < 64 { return asciiLow >> UInt64(value) & 1 != 0 }
        if value < 128 { return asciiHigh >> UInt64(value - 64) & 1 != 0 }
        return Self.evaluate(items, value) != isNegated
    }

    private static func evaluate(_ items: [Item], _ value: UInt32) -> Bool {
        for item in items {
            let found =
                switch item {
                case .range(let range): range.contains(value)
                case .categories(let set): UnicodeTable.shared.isIn(set, value)
                case .whitespace: UnicodeTable.shared.isWhitespace(value)
                case .word: isWord(value)
                case .nested(let set): set.contains(value)
                }
            if found { return true }
        }
        return false
    }

    /// Oniguruma's `\w`: no join controls, but the superscript digits and fractions of Latin-1.
    private static func isWord(_ value: UInt32) -> Bool {
        switch value {
        case 0x200C, 0x200D: false
        case 0xB2, 0xB3, 0xB9, 0xBC...0xBE: true
        default: UnicodeTable.shared.isWord(value)
        }
    }

    /// The scalars that equal `value` when case is ignored.
    static func caseVariants(of value: UInt32) -> [Item] {
        guard let scalar = Unicode.Scalar(value) else { return [.range(value...value)] }
        var variants: Set<UInt32> = [value]
        for mapping in [scalar.properties.lowercaseMapping, scalar.properties.uppercaseMapping] {
            let scalars = mapping.unicodeScalars
            if scalars.count == 1, let only = scalars.first { variants.insert(only.value) }
        }
        // The two scalars outside ASCII that fold to an ASCII letter: long s and the Kelvin sign.
        if variants.contains(0x73) { variants.insert(0x17F) }
        if variants.contains(0x6B) { variants.insert(0x212A) }
        return variants.sorted().map { .range($0...$0) }
    }
}
