/// Expressions of decimal numbers between two bounds.
///
/// A fraction is read digit by digit beside those of its bound: once a digit is larger or smaller, the rest is free.
enum DecimalBounds {
    typealias Expression = Grammar.Expression

    /// Integers and fractions have at most so many digits, so that a number ends and no reader rounds it to another.
    static let maximumDigits = 15

    /// A digit of a range.
    static func digit(_ range: ClosedRange<UInt8>) -> Expression {
        .scalars(ScalarRanges([UInt32(range.lowerBound) + 48...UInt32(range.upperBound) + 48]))
    }

    private static func anyDigits(_ minimum: Int, _ maximum: Int) -> Expression {
        .repeated(digit(0...9), minimum: minimum, maximum: maximum)
    }

    // MARK: - Integers

    /// Integers from `low` to `high`, either of which may be nil for none.
    static func integers(_ low: Int?, _ high: Int?) -> Expression {
        var parts: [Expression] = []
        if high ?? 0 >= 0 || low ?? -1 >= 0 {
            parts.append(natural(max(0, low ?? 0), high))
        }
        if low ?? -1 < 0 {
            let (first, last) = (max(1, -(high ?? -1)), low.map { -$0 })
            parts.append(.sequence([.text("-"), natural(first, last)]))
        }
        return .alternatives(parts)
    }

    /// Integers from `low` >= 0 on, to `high` if there is a bound.
    static func natural(_ low: Int, _ high: Int?) -> Expression {
        if let high, high < low { return .never }
        let first = digits(of: low)
        let last = high.map { digits(of: $0) } ?? Array(repeating: 9, count: max(maximumDigits, first.count))
        guard first.count < last.count else { return between(first[...], last[...]) }
        // Numbers of as many digits as the lower bound, of more, and of as many as the upper
        var parts = [between(first[...], [UInt8](repeating: 9, count: first.count)[...])]
        if first.count + 1 < last.count {
            parts.append(.sequence([digit(1...9), anyDigits(first.count, last.count - 2)]))
        }
        parts.append(between(([1] + [UInt8](repeating: 0, count: last.count - 1))[...], last[...]))
        return .alternatives(parts)
    }

    private static func digits(of number: Int) -> [UInt8] { String(number).utf8.map { $0 - 48 } }

    /// As many digits as both bounds have, from the one to the other.
    private static func between(_ low: ArraySlice<UInt8>, _ high: ArraySlice<UInt8>) -> Expression {
        guard let a = low.first, let b = high.first else { return .empty }
        let (lowRest, highRest) = (low.dropFirst(), high.dropFirst())
        if lowRest.allSatisfy({ $0 == 0 }), highRest.allSatisfy({ $0 == 9 }) {
            return a <= b ? .sequence([digit(a...b), anyDigits(lowRest.count, lowRest.count)]) : .never
        }
        if a == b { return .sequence([digit(a...a), between(lowRest, highRest)]) }
        guard a < b else { return .never }
        let nines = [UInt8](repeating: 9, count: lowRest.count)[...]
        let zeros = [UInt8](repeating: 0, count: lowRest.count)[...]
        var parts: [Expression] = [.sequence([digit(a...a), between(lowRest, nines)])]
        if a + 1 < b { parts.append(.sequence([digit(a + 1...b - 1), anyDigits(lowRest.count, lowRest.count)])) }
        parts.append(.sequence([digit(b...b), between(zeros, highRest)]))
        return .alternatives(parts)
    }

    // MARK: - Numbers with a fraction

    /// A bound: a decimal number, without sign.
    struct Bound {
        var whole: Int
        /// The digits after the point, without zeros at the end.
        var fraction: [UInt8]
        /// Whether the bound itself is left out.
        var isExclusive: Bool
    }

    /// Numbers from 0 on, from `low` to `high` where there are bounds, with or without a fraction.
    static func numbers(_ low: Bound?, _ high: Bound?) -> Expression {
        let low = low ?? Bound(whole: 0, fraction: [], isExclusive: false)
        guard let high else {
            return .alternatives([
                .sequence([natural(low.whole, low.whole), fraction(low, nil)]),
                .sequence([natural(low.whole + 1, nil), fraction(nil, nil)]),
            ])
        }
        if low.whole > high.whole { return .never }
        if low.whole == high.whole { return .sequence([natural(low.whole, low.whole), fraction(low, high)]) }
        return .alternatives([
            .sequence([natural(low.whole, low.whole), fraction(low, nil)]),
            .sequence([natural(low.whole + 1, high.whole - 1), fraction(nil, nil)]),
            .sequence([natural(high.whole, high.whole), fraction(nil, high)]),
        ])
    }

    /// What may stand after the whole part: nothing, or a point and digits.
    private static func fraction(_ low: Bound?, _ high: Bound?) -> Expression {
        let low = low.map { ($0.fraction[...], $0.isExclusive) }
        let high = high.map { ($0.fraction[...], $0.isExclusive) }
        var parts: [Expression] = []
        if isEmptyAllowed(low, high) { parts.append(.empty) }
        parts.append(.sequence([.text("."), digits(low, high, room: maximumDigits, minimum: 1)]))
        return .alternatives(parts)
    }

    private typealias Rest = (digits: ArraySlice<UInt8>, isExclusive: Bool)

    /// Whether the fraction may end where these digits of its bounds are left.
    private static func isEmptyAllowed(_ low: Rest?, _ high: Rest?) -> Bool {
        // What ends is equal to a bound without digits left, and less than one with some (there are no zeros at the end)
        let isOver = low.map { $0.digits.isEmpty && !$0.isExclusive } ?? true
        let isUnder = high.map { !($0.digits.isEmpty && $0.isExclusive) } ?? true
        return isOver && isUnder
    }

    /// The digits that follow, at least `minimum` and at most `room`, between what is left of the bounds.
    private static func digits(_ low: Rest?, _ high: Rest?, room: Int, minimum: Int) -> Expression {
        if low == nil, high == nil { return anyDigits(minimum, room) }
        var parts: [Expression] = []
        if minimum == 0, isEmptyAllowed(low, high) { parts.append(.empty) }
        guard room > 0 else { return .alternatives(parts) }
        let a = low.map { $0.digits.first ?? 0 }
        let b = high.map { $0.digits.first ?? 0 }
        for value in (a ?? 0)...9 where value <= b ?? 9 {
            let nextLow = value == a ? low.map { Rest($0.digits.dropFirst(), $0.isExclusive) } : nil
            let nextHigh = value == b ? high.map { Rest($0.digits.dropFirst(), $0.isExclusive) } : nil
            parts.append(
                .sequence([digit(value...value), digits(nextLow, nextHigh, room: room - 1, minimum: 0)]))
        }
        return .alternatives(parts)
    }
}
