import Foundation

/// The decompositions of scalars and the pairs that compose, for the normalization forms of UAX #15.
///
/// Foundation is asked about single scalars only, once: over longer strings its forms are not to be trusted on every
/// system (it has been seen to compose a scalar beyond U+FFFF as if it were the one 0x10000 below).
struct Decompositions: Sendable {
    /// Computed on first use (some tens of milliseconds).
    static let shared = Decompositions()

    /// The scalars that may decompose, apart from Hangul syllables.
    private static let candidates: [ClosedRange<UInt32>] = [
        0xA0...0x10FF, 0x1B00...0x33FF, 0xA600...0xABFF, 0xF900...0xFFFF, 0x11000...0x11AFF, 0x1D100...0x1D7FF,
        0x1EE00...0x1F2FF, 0x2F800...0x2FA1F,
    ]

    private var canonical: [UInt32: [UInt32]] = [:]
    private var compatible: [UInt32: [UInt32]] = [:]
    private let pairs = PairMap(minimumCapacity: 1200)

    private init() {
        var composites: [[UInt32]: UInt32] = [:]
        for value in Self.candidates.joined() where UnicodeTable.version9.isAssigned(value) {
            guard let scalar = Unicode.Scalar(value) else { continue }
            let text = String(scalar)
            let full = text.decomposedStringWithCompatibilityMapping.unicodeScalars.map(\.value)
            if full == [value] { continue }
            compatible[value] = full
            let parts = text.decomposedStringWithCanonicalMapping.unicodeScalars.map(\.value)
            if parts == [value] { continue }
            canonical[value] = parts
            if parts.count > 1, text.precomposedStringWithCanonicalMapping.unicodeScalars.elementsEqual([scalar]) {
                composites[parts] = value
            }
        }
        // A composite of three composes from the composite of the first two and the third.
        for (parts, value) in composites {
            let head = parts.count == 2 ? parts[0] : composites[Array(parts.dropLast())]
            if let head, let last = parts.last { pairs.insert(head, last, UInt64(value)) }
        }
    }

    // Hangul syllables are made by arithmetic: UAX #15, 3.12 of the standard.
    private static let syllables: ClosedRange<UInt32> = 0xAC00...0xD7A3
    private static let (leadBase, vowelBase, trailBase) = (UInt32(0x1100), UInt32(0x1161), UInt32(0x11A7))
    private static let (leadCount, vowelCount, trailCount) = (UInt32(19), UInt32(21), UInt32(28))

    /// The text decomposed, its marks in canonical order.
    func decompose(_ scalars: some Sequence<Unicode.Scalar>, compatibly: Bool) -> [Unicode.Scalar] {
        var result: [Unicode.Scalar] = []
        for scalar in scalars {
            let value = scalar.value
            if Self.syllables.contains(value) {
                let index = value - Self.syllables.lowerBound
                let trail = index % Self.trailCount
                let parts = [
                    Self.leadBase + index / (Self.vowelCount * Self.trailCount),
                    Self.vowelBase + index / Self.trailCount % Self.vowelCount, Self.trailBase + trail,
                ]
                result += parts.prefix(trail == 0 ? 2 : 3).compactMap(Unicode.Scalar.init)
            } else if let parts = compatibly ? compatible[value] : canonical[value] {
                result += parts.compactMap(Unicode.Scalar.init)
            } else {
                result.append(scalar)
            }
        }
        order(&result)
        return result
    }

    private func combiningClass(_ scalar: Unicode.Scalar) -> UInt8 {
        scalar.value < 0x300 ? 0 : scalar.properties.canonicalCombiningClass.rawValue
    }

    /// Sorts each run of marks by combining class, those of one class as they come.
    private func order(_ scalars: inout [Unicode.Scalar]) {
        var start = 0
        while start < scalars.count {
            if combiningClass(scalars[start]) == 0 {
                start += 1
                continue
            }
            var end = start + 1
            while end < scalars.count, combiningClass(scalars[end]) != 0 { end += 1 }
            if end - start > 1 {
                let marks = scalars[start..<end].map { (mark: $0, combiningClass: combiningClass($0)) }.enumerated()
                let sorted = marks.sorted {
                    ($0.element.combiningClass, $0.offset) < ($1.element.combiningClass, $1.offset)
                }
                scalars.replaceSubrange(start..<end, with: sorted.map(\.element.mark))
            }
            start = end
        }
    }

    /// The decomposed text composed: each scalar with the last starter before it, where nothing lies between.
    func compose(_ scalars: [Unicode.Scalar]) -> [Unicode.Scalar] {
        var result: [Unicode.Scalar] = []
        var starter: Int?
        var lastClass: UInt8 = 0
        for scalar in scalars {
            let combining = combiningClass(scalar)
            if let starter, result.count == starter + 1 || (lastClass < combining && lastClass != 0),
                let composite = composite(result[starter].value, scalar.value)
            {
                result[starter] = composite
                continue
            }
            if combining == 0 { starter = result.count }
            lastClass = combining
            result.append(scalar)
        }
        return result
    }

    private func composite(_ first: UInt32, _ second: UInt32) -> Unicode.Scalar? {
        if first >= Self.leadBase, first < Self.leadBase + Self.leadCount, second >= Self.vowelBase,
            second < Self.vowelBase + Self.vowelCount
        {
            let index = (first - Self.leadBase) * Self.vowelCount + second - Self.vowelBase
            return Unicode.Scalar(Self.syllables.lowerBound + index * Self.trailCount)
        }
        if Self.syllables.contains(first), (first - Self.syllables.lowerBound) % Self.trailCount == 0,
            second > Self.trailBase, second < Self.trailBase + Self.trailCount
        {
            return Unicode.Scalar(first + second - Self.trailBase)
        }
        let value = pairs.find(first, second)
        return value == PairMap.missing ? nil : Unicode.Scalar(UInt32(truncatingIfNeeded: value))
    }
}
