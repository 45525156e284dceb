import Foundation

extension JinjaValue {
    /// Python's `==`.
    func isEqual(to other: JinjaValue) -> Bool {
        switch (self, other) {
        case (.undefined, .undefined), (.null, .null): return true
        case (.string(let a), .string(let b)): return a.isSameText(as: b)
        case (.list(let a), .list(let b)), (.tuple(let a), .tuple(let b)):
            return a === b || Self.areEqual(a.items, b.items)
        case (.dict(let a), .dict(let b)):
            guard a !== b else { return true }
            guard a.count == b.count else { return false }
            for (key, value) in zip(a.keys, a.values) {
                guard let found = try? b.get(key), value.isEqual(to: found) else { return false }
            }
            return true
        case (.view(let a), .view(let b)):
            guard a.kind == b.kind, a.kind != .values else { return a === b }
            let (left, right) = (a.items, b.items)
            return left.count == right.count && left.allSatisfy { item in right.contains { $0.isEqual(to: item) } }
        case (.range(let a), .range(let b)):
            return a.count == b.count
                && (a.count == 0 || (a.start == b.start && (a.count == 1 || a.step == b.step)))
        case (.int(let a), .int(let b)): return a == b
        case (.function(let a), .function(let b)): return a == b
        case (.iterator(let a), .iterator(let b)): return a === b
        case (.namespace(let a), .namespace(let b)): return a === b
        case (.macro(let a), .macro(let b)): return a === b
        case (.method(let a), .method(let b)): return a.name == b.name && a.receiver.isEqual(to: b.receiver)
        case (.loop(let a), .loop(let b)): return a === b
        case (.cycler(let a), .cycler(let b)): return a === b
        case (.joiner(let a), .joiner(let b)): return a === b
        default:
            guard let a = number, let b = other.number else { return false }
            return a == b
        }
    }

    static func areEqual(_ left: [JinjaValue], _ right: [JinjaValue]) -> Bool {
        left.count == right.count && zip(left, right).allSatisfy { $0.isEqual(to: $1) }
    }

    /// Python's `<`, and with `orEqual` its `<=`.
    ///
    /// - Throws: An error where Python has no order between the two types.
    func isLess(
        than other: JinjaValue, orEqual: Bool = false, symbol: String = "<"
    ) throws(JinjaError) -> Bool {
        switch (self, other) {
        case (.undefined(let value), _), (_, .undefined(let value)): throw JinjaError(value.message)
        case (.string(let a), .string(let b)):
            return orEqual ? !b.isTextBefore(a) : a.isTextBefore(b)
        case (.int(let a), .int(let b)): return orEqual ? a <= b : a < b
        case (.list(let a), .list(let b)), (.tuple(let a), .tuple(let b)):
            for (left, right) in zip(a.items, b.items) where !left.isEqual(to: right) {
                return try left.isLess(than: right, orEqual: orEqual, symbol: symbol)
            }
            return orEqual ? a.items.count <= b.items.count : a.items.count < b.items.count
        default:
            guard let a = number, let b = other.number else {
                throw JinjaError(
                    "'\(symbol)' not supported between instances of '\(typeName)' and '\(other.typeName)'")
            }
            return orEqual ? a <= b : a < b
        }
    }

    func compare(_ comparison: JinjaComparison, _ other: JinjaValue) throws(JinjaError) -> Bool {
        switch comparison {
        case .equal: isEqual(to: other)
        case .notEqual: !isEqual(to: other)
        case .less: try isLess(than: other)
        case .lessOrEqual: try isLess(than: other, orEqual: true, symbol: "<=")
        case .greater: try other.isLess(than: self, symbol: ">")
        case .greaterOrEqual: try other.isLess(than: self, orEqual: true, symbol: ">=")
        case .contained: try other.contains(self)
        case .notContained: try !other.contains(self)
        }
    }

    /// Python's `in`, with the container on this side.
    func contains(_ item: JinjaValue) throws(JinjaError) -> Bool {
        switch self {
        case .string(let text):
            guard let part = item.string else {
                if case .undefined(let value) = item { throw JinjaError(value.message) }
                throw JinjaError("'in <string>' requires string as left operand, not \(item.typeName)")
            }
            return part.isEmpty || text.firstRange(ofText: part) != nil
        case .dict(let dict): return try dict.get(item) != nil
        case .view(let view) where view.kind == .keys: return try view.dict.get(item) != nil
        case .iterator(let iterator):
            while let element = iterator.next() {
                if element.isEqual(to: item) { return true }
            }
            return false
        default:
            guard let elements else {
                throw JinjaError("argument of type '\(typeName)' is not iterable")
            }
            return elements.contains { $0.isEqual(to: item) }
        }
    }
}

extension Array where Element == JinjaValue {
    /// The array sorted as Python's `sorted` does: equal elements keep their order, in reverse too.
    ///
    /// - Parameter keys: What to compare, one for each element.
    func pythonSorted(by keys: [JinjaValue], reverse: Bool) throws(JinjaError) -> [JinjaValue] {
        var order = Array<Int>(indices)
        var scratch = order
        var width = 1
        while width < count {
            var start = 0
            while start < count {
                let middle = Swift.min(start + width, count)
                let end = Swift.min(start + 2 * width, count)
                var (left, right) = (start, middle)
                for target in start..<end {
                    var takesRight = left >= middle
                    if !takesRight, right < end {
                        let (a, b) = (keys[order[left]], keys[order[right]])
                        takesRight = reverse ? try a.isLess(than: b) : try b.isLess(than: a)
                    }
                    scratch[target] = takesRight ? order[right] : order[left]
                    if takesRight { right += 1 } else { left += 1 }
                }
                start = end
            }
            swap(&order, &scratch)
            width *= 2
        }
        return order.map { self[$0] }
    }
}

extension String {
    /// Where a text that is not empty first occurs, by code points.
    func firstRange(ofText part: String, from start: String.Index? = nil) -> Range<String.Index>? {
        var (text, part) = (self, part)
        let offset = start.map { utf8.distance(from: utf8.startIndex, to: $0) } ?? 0
        let found = text.withUTF8 { bytes in
            part.withUTF8 { wanted -> Int? in
                Self.firstOffset(of: wanted, in: bytes, from: offset)
            }
        }
        guard let found else { return nil }
        let lower = utf8.index(utf8.startIndex, offsetBy: found)
        return lower..<utf8.index(lower, offsetBy: part.utf8.count)
    }

    private static func firstOffset(
        of wanted: UnsafeBufferPointer<UInt8>, in bytes: UnsafeBufferPointer<UInt8>, from start: Int
    ) -> Int? {
        guard let first = wanted.first, let base = bytes.baseAddress, let wantedBase = wanted.baseAddress else {
            return nil
        }
        guard wanted.count <= 32 else { return firstOffset(ofLong: wanted, in: bytes, from: start) }
        var offset = start
        while offset + wanted.count <= bytes.count {
            guard let found = memchr(base + offset, Int32(first), bytes.count - wanted.count + 1 - offset) else {
                break
            }
            offset = UnsafeRawPointer(found) - UnsafeRawPointer(base)
            if memcmp(base + offset, wantedBase, wanted.count) == 0 { return offset }
            offset += 1
        }
        return nil
    }

    /// Knuth, Morris and Pratt's search, whose time is linear whatever the text.
    private static func firstOffset(
        ofLong wanted: UnsafeBufferPointer<UInt8>, in bytes: UnsafeBufferPointer<UInt8>, from start: Int
    ) -> Int? {
        var borders = [Int](repeating: 0, count: wanted.count)
        var length = 0
        for position in 1..<wanted.count {
            while length > 0, wanted[position] != wanted[length] { length = borders[length - 1] }
            if wanted[position] == wanted[length] { length += 1 }
            borders[position] = length
        }
        var matched = 0
        for position in start..<Swift.max(start, bytes.count) {
            while matched > 0, bytes[position] != wanted[matched] { matched = borders[matched - 1] }
            if bytes[position] == wanted[matched] { matched += 1 }
            if matched == wanted.count { return position - wanted.count + 1 }
        }
        return nil
    }
}
