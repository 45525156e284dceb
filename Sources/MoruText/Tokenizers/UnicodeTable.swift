/// Unicode properties of scalars as a flat table over the first two planes, where nearly all text lives.
///
/// A byte holds the general category in its low five bits and, above it, whether the scalar is white space and
/// whether it is a word character (`\w` of UTS #18: alphabetic, mark, decimal number, connector, join control).
///
/// Vocabularies were trained with the Unicode of their day, and the components of the reference differ in theirs. So
/// there is a table for each version that matters, made from Swift's newer data: what came later is unassigned, and
/// the few scalars whose category has changed since are listed. Unchecked: only the initializer writes.
struct UnicodeTable: @unchecked Sendable {
    /// Unicode 16, which regular expressions go by. Computed on first use (a few milliseconds), like the others.
    static let shared = UnicodeTable(version: 16, changed: [(0x295...0x295, .lowercaseLetter)])
    /// Unicode 8, which punctuation, control characters and accents of BERT's kind go by.
    static let version8 = UnicodeTable(
        version: 8,
        changed: [
            (0x166D...0x166D, .otherPunctuation), (0x111C9...0x111C9, .otherPunctuation),
            (0x1734...0x1734, .nonspacingMark), (0x1171E...0x1171E, .nonspacingMark),
            (0x1885...0x1886, .otherLetter), (0xA9BD...0xA9BD, .spacingMark),
        ])
    /// Unicode 9, which normalization forms and combining marks go by.
    static let version9 = UnicodeTable(
        version: 9, changed: [(0x1CF2...0x1CF3, .spacingMark), (0x111C9...0x111C9, .otherPunctuation)])

    static let whitespaceFlag: UInt8 = 0x20
    static let wordFlag: UInt8 = 0x40
    /// What ``decodeScalar(_:_:_:)`` gives for a byte that is no part of valid UTF-8.
    static let invalid: UInt32 = 0x11_0000
    private static let tabulated: UInt32 = 0x2_0000

    private let entries: UnsafeMutablePointer<UInt8>
    private let version: Int

    private init(version: Int, changed: [(scalars: ClosedRange<UInt32>, category: Unicode.GeneralCategory)]) {
        self.version = version
        entries = .allocate(capacity: Int(Self.tabulated))
        for value in 0..<Self.tabulated { entries[Int(value)] = Self.compute(value, version) }
        for (scalars, category) in changed {
            for value in scalars {
                entries[Int(value)] = entries[Int(value)] & 0xE0 | CategorySet.number(of: category)
            }
        }
    }

    /// The table's byte for a scalar; unassigned for what is no scalar.
    @inline(__always)
    func entry(_ value: UInt32) -> UInt8 {
        value < Self.tabulated ? entries[Int(value)] : Self.compute(value, version)
    }

    @inline(__always)
    func isWhitespace(_ value: UInt32) -> Bool { entry(value) & Self.whitespaceFlag != 0 }

    @inline(__always)
    func isWord(_ value: UInt32) -> Bool { entry(value) & Self.wordFlag != 0 }

    @inline(__always)
    func isIn(_ categories: CategorySet, _ value: UInt32) -> Bool { categories.contains(entry(value)) }

    /// Whether the scalar is assigned in this version of Unicode.
    @inline(__always)
    func isAssigned(_ value: UInt32) -> Bool { entry(value) & 0x1F != CategorySet.number(of: .unassigned) }

    private static func compute(_ value: UInt32, _ version: Int) -> UInt8 {
        switch value {
        // The large blocks that no version since 1.1 has changed, to spare half the work.
        case 0x4E00...0x9FA5, 0xAC00...0xD7A3: return CategorySet.number(of: .otherLetter) | wordFlag
        case 0xE000...0xF8FF: return CategorySet.number(of: .privateUse)
        default: break
        }
        guard let scalar = Unicode.Scalar(value) else {
            return CategorySet.number(of: value < 0x11_0000 ? .surrogate : .unassigned)
        }
        let properties = scalar.properties
        let category = properties.generalCategory
        if category == .unassigned { return CategorySet.number(of: .unassigned) }
        if category != .control, properties.age?.major ?? .max > version {
            return CategorySet.number(of: .unassigned)
        }
        var entry = CategorySet.number(of: category)
        switch category {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter, .nonspacingMark,
            .spacingMark, .enclosingMark, .decimalNumber, .connectorPunctuation:
            entry |= wordFlag
        case .spaceSeparator, .lineSeparator, .paragraphSeparator, .control:
            if properties.isWhitespace { entry |= whitespaceFlag }
        default: if properties.isAlphabetic || properties.isJoinControl { entry |= wordFlag }
        }
        return entry
    }
}

/// A set of Unicode general categories.
struct CategorySet: OptionSet, Sendable {
    let rawValue: UInt32

    @inline(__always)
    func contains(_ entry: UInt8) -> Bool { rawValue >> UInt32(entry & 31) & 1 != 0 }

    /// Every general category with its two-letter name; the position is its number in the table.
    private static let all: [(name: String, category: Unicode.GeneralCategory)] = [
        ("Lu", .uppercaseLetter), ("Ll", .lowercaseLetter), ("Lt", .titlecaseLetter), ("Lm", .modifierLetter),
        ("Lo", .otherLetter), ("Mn", .nonspacingMark), ("Mc", .spacingMark), ("Me", .enclosingMark),
        ("Nd", .decimalNumber), ("Nl", .letterNumber), ("No", .otherNumber), ("Pc", .connectorPunctuation),
        ("Pd", .dashPunctuation), ("Ps", .openPunctuation), ("Pe", .closePunctuation), ("Pi", .initialPunctuation),
        ("Pf", .finalPunctuation), ("Po", .otherPunctuation), ("Sm", .mathSymbol), ("Sc", .currencySymbol),
        ("Sk", .modifierSymbol), ("So", .otherSymbol), ("Zs", .spaceSeparator), ("Zl", .lineSeparator),
        ("Zp", .paragraphSeparator), ("Cc", .control), ("Cf", .format), ("Cs", .surrogate), ("Co", .privateUse),
        ("Cn", .unassigned),
    ]

    static func number(of category: Unicode.GeneralCategory) -> UInt8 {
        switch category {
        case .uppercaseLetter: 0
        case .lowercaseLetter: 1
        case .titlecaseLetter: 2
        case .modifierLetter: 3
        case .otherLetter: 4
        case .nonspacingMark: 5
        case .spacingMark: 6
        case .enclosingMark: 7
        case .decimalNumber: 8
        case .letterNumber: 9
        case .otherNumber: 10
        case .connectorPunctuation: 11
        case .dashPunctuation: 12
        case .openPunctuation: 13
        case .closePunctuation: 14
        case .initialPunctuation: 15
        case .finalPunctuation: 16
        case .otherPunctuation: 17
        case .mathSymbol: 18
        case .currencySymbol: 19
        case .modifierSymbol: 20
        case .otherSymbol: 21
        case .spaceSeparator: 22
        case .lineSeparator: 23
        case .paragraphSeparator: 24
        case .control: 25
        case .format: 26
        case .surrogate: 27
        case .privateUse: 28
        case .unassigned: 29
        @unknown default: 29
        }
    }

    static let letter = CategorySet(rawValue: 0x1F)
    static let mark = CategorySet(rawValue: 0x7 << 5)
    static let number = CategorySet(rawValue: 0x7 << 8)
    static let punctuation = CategorySet(rawValue: 0x7F << 11)
    static let nonspacingMark = CategorySet(rawValue: 1 << 5)
    static let letterOrNumber: CategorySet = [.letter, .number]

    /// The set named as in `\p{L}` or `\p{Lu}`, or nil.
    init?(named name: String) {
        var bits: UInt32 = 0
        for (position, entry) in Self.all.enumerated()
        where entry.name == name || (name.utf8.count == 1 && entry.name.hasPrefix(name)) {
            bits |= 1 << UInt32(position)
        }
        if bits == 0 { return nil }
        rawValue = bits
    }

    init(rawValue: UInt32) { self.rawValue = rawValue }
}

/// Decodes the scalar at `position`; a byte that is no part of valid UTF-8 counts as one scalar of its own,
/// ``UnicodeTable/invalid``.
@inline(__always)
func decodeScalar(_ bytes: UnsafePointer<UInt8>, _ position: Int, _ end: Int) -> (value: UInt32, length: Int) {
    let first = bytes[position]
    if first < 0x80 { return (UInt32(first), 1) }
    return decodeMultibyteScalar(bytes, position, end)
}

@inline(__always)
private func decodeMultibyteScalar(
    _ bytes: UnsafePointer<UInt8>, _ position: Int, _ end: Int
) -> (value: UInt32, length: Int) {
    let first = UInt32(bytes[position])
    let available = end - position
    if first >= 0xC2, first < 0xE0, available >= 2 {
        let second = UInt32(bytes[position + 1])
        if second & 0xC0 == 0x80 { return ((first & 0x1F) << 6 | (second & 0x3F), 2) }
    } else if first >= 0xE0, first < 0xF0, available >= 3 {
        let second = UInt32(bytes[position + 1])
        let third = UInt32(bytes[position + 2])
        let value = (first & 0x0F) << 12 | (second & 0x3F) << 6 | (third & 0x3F)
        if second & 0xC0 == 0x80, third & 0xC0 == 0x80, value >= 0x800, value & 0xF800 != 0xD800 { return (value, 3) }
    } else if first >= 0xF0, first < 0xF5, available >= 4 {
        let second = UInt32(bytes[position + 1])
        let third = UInt32(bytes[position + 2])
        let fourth = UInt32(bytes[position + 3])
        let value = (first & 0x07) << 18 | (second & 0x3F) << 12 | (third & 0x3F) << 6 | (fourth & 0x3F)
        if second & 0xC0 == 0x80, third & 0xC0 == 0x80, fourth & 0xC0 == 0x80, value >= 0x1_0000, value < 0x11_0000 {
            return (value, 4)
        }
    }
    return (UnicodeTable.invalid, 1)
}

/// The start of the scalar that ends at `end`, not before `start`.
@inline(__always)
func scalarStart(before end: Int, _ bytes: UnsafePointer<UInt8>, from start: Int) -> Int {
    var position = end - 1
    while position > start, end - position < 4, bytes[position] & 0xC0 == 0x80 { position -= 1 }
    let (value, length) = decodeScalar(bytes, position, end)
    return value != UnicodeTable.invalid && position + length == end ? position : end - 1
}

extension Array where Element == UInt8 {
    /// Appends a scalar in UTF-8; U+FFFD for what is no scalar.
    mutating func append(scalar value: UInt32) {
        let scalar = Unicode.Scalar(value) ?? "\u{FFFD}"
        append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
    }
}
