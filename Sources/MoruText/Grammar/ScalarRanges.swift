/// A set of Unicode scalars as sorted ranges that neither overlap nor touch; surrogates are in none.
struct ScalarRanges: Hashable, Sendable {
    private(set) var ranges: [ClosedRange<UInt32>] = []

    /// Every scalar.
    static let all = ScalarRanges([0...0xD7FF, 0xE000...0x10FFFF])

    /// The union of some ranges, in any order.
    init(_ ranges: some Sequence<ClosedRange<UInt32>>) {
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = self.ranges.last, range.lowerBound <= last.upperBound &+ 1 {
                self.ranges[self.ranges.count - 1] = last.lowerBound...max(last.upperBound, range.upperBound)
            } else {
                self.ranges.append(range)
            }
        }
        if !self.ranges.allSatisfy({ $0.upperBound < 0xD800 || $0.lowerBound > 0xDFFF }) { removeSurrogates() }
    }

    /// One scalar.
    init(_ scalar: Unicode.Scalar) { ranges = [scalar.value...scalar.value] }

    /// The scalars of a string.
    init(of text: String) { self.init(text.unicodeScalars.map { $0.value...$0.value }) }

    /// Whether no scalar is in the set.
    var isEmpty: Bool { ranges.isEmpty }

    private mutating func removeSurrogates() { self = intersection(.all) }

    func contains(_ value: UInt32) -> Bool { ranges.contains { $0.contains(value) } }

    func union(_ other: ScalarRanges) -> ScalarRanges { ScalarRanges(ranges + other.ranges) }

    func intersection(_ other: ScalarRanges) -> ScalarRanges {
        var result: [ClosedRange<UInt32>] = []
        var (i, j) = (0, 0)
        while i < ranges.count, j < other.ranges.count {
            let low = max(ranges[i].lowerBound, other.ranges[j].lowerBound)
            let high = min(ranges[i].upperBound, other.ranges[j].upperBound)
            if low <= high { result.append(low...high) }
            if ranges[i].upperBound < other.ranges[j].upperBound { i += 1 } else { j += 1 }
        }
        var set = ScalarRanges([])
        set.ranges = result
        return set
    }

    /// The scalars that are not in the set.
    var complement: ScalarRanges {
        var result: [ClosedRange<UInt32>] = []
        var next: UInt32 = 0
        for range in ranges {
            if range.lowerBound > next { result.append(next...range.lowerBound - 1) }
            next = range.upperBound + 1
        }
        if next <= 0x10FFFF { result.append(next...0x10FFFF) }
        return ScalarRanges(result)
    }

    func subtracting(_ other: ScalarRanges) -> ScalarRanges { intersection(other.complement) }

    /// The encodings of the set's scalars in UTF-8, as sequences of 1 to 4 ranges of bytes.
    var utf8Sequences: [[ClosedRange<UInt8>]] { ranges.flatMap(Self.utf8Sequences) }

    /// Splits a range until the encodings of each part are the product of a range of bytes at every place.
    private static func utf8Sequences(_ range: ClosedRange<UInt32>) -> [[ClosedRange<UInt8>]] {
        let (low, high) = (range.lowerBound, range.upperBound)
        for last in [0x7F, 0x7FF, 0xFFFF] as [UInt32] where low <= last && last < high {
            return utf8Sequences(low...last) + utf8Sequences(last + 1...high)
        }
        // The last bytes must run through all of 80...BF unless the bytes before them are the same
        for bits in [6, 12, 18] as [UInt32] where high >= 0x80 {
            let mask: UInt32 = (1 << bits) - 1
            guard low & ~mask != high & ~mask else { continue }
            if low & mask != 0 { return utf8Sequences(low...low | mask) + utf8Sequences((low | mask) + 1...high) }
            if high & mask != mask {
                return utf8Sequences(low...(high & ~mask) - 1) + utf8Sequences(high & ~mask...high)
            }
        }
        guard let first = Unicode.Scalar(low), let last = Unicode.Scalar(high) else { return [] }
        return [zip(UTF8.encode(first) ?? .init(), UTF8.encode(last) ?? .init()).map { $0...$1 }]
    }
}
