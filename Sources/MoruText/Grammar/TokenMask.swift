/// Which ids of a vocabulary are allowed.
public struct TokenMask: Sendable, Hashable {
    /// A bit for each id, the lowest first.
    private(set) var words: [UInt64]
    /// The number of ids.
    public let count: Int

    /// A mask of a number of ids that allows none.
    public init(count: Int) {
        self.count = count
        words = Array(repeating: 0, count: (count + 63) / 64)
    }

    /// Whether an id is allowed.
    public subscript(_ id: Int) -> Bool { 0..<count ~= id && words[id >> 6] >> UInt64(id & 63) & 1 != 0 }

    /// Allows an id.
    public mutating func insert(_ id: Int) { words[id >> 6] |= 1 << UInt64(id & 63) }

    /// Whether no id is allowed.
    public var isEmpty: Bool { words.allSatisfy { $0 == 0 } }

    /// The ids that are allowed, in order.
    public var ids: [Int] {
        var result: [Int] = []
        for (number, word) in words.enumerated() {
            var rest = word
            while rest != 0 {
                result.append(number << 6 + rest.trailingZeroBitCount)
                rest &= rest - 1
            }
        }
        return result
    }

    /// Sets the numbers of what is not allowed, a number for each id and maybe more, to a value.
    public func replaceOthers(in numbers: UnsafeMutableBufferPointer<Float>, with value: Float) {
        for (number, word) in words.enumerated() where word != .max {
            let first = number << 6
            for place in 0..<min(64, numbers.count - first) where word >> UInt64(place) & 1 == 0 {
                numbers[first + place] = value
            }
        }
        for place in min(numbers.count, words.count << 6)..<numbers.count { numbers[place] = value }
    }
}
