import MoruTensor
import Testing

/// Expects two lists to have the same elements; if not, says which element differs first, and how many do.
///
/// For lists of hundreds of elements and more: `#expect(a == b)` looks for the shortest edit from one to the other when
/// it fails, which takes minutes for thousands of elements that all differ.
public func expectEqual<Element: Equatable>(
    _ found: some Collection<Element>, _ expected: some Collection<Element>, _ what: @autoclosure () -> String = "",
    sourceLocation: SourceLocation = #_sourceLocation
) {
    guard let difference = difference(found, expected) else { return }
    record(difference, what(), sourceLocation)
}

/// Expects two lists of lists to be the same; if not, says which element of which list differs first.
public func expectEqual<Element: Equatable>(
    _ found: [[Element]], _ expected: [[Element]], _ what: @autoclosure () -> String = "",
    sourceLocation: SourceLocation = #_sourceLocation
) {
    guard found.count == expected.count else {
        return record("\(found.count) lists, expected \(expected.count)", what(), sourceLocation)
    }
    for (index, (found, expected)) in zip(found, expected).enumerated() {
        guard let difference = difference(found, expected) else { continue }
        return record("list \(index): \(difference)", what(), sourceLocation)
    }
}

/// Expects two tensors to have the same shape and values, bit for bit but for the sign of zero.
public func expectEqual(
    _ found: Tensor, _ expected: Tensor, _ what: @autoclosure () -> String = "",
    sourceLocation: SourceLocation = #_sourceLocation
) {
    guard found.shape == expected.shape else {
        return record("the shape is \(found.shape), expected \(expected.shape)", what(), sourceLocation)
    }
    expectEqual(found.values(), expected.values(), what(), sourceLocation: sourceLocation)
}

/// How two lists differ, in words: the first element that does, and how many do; nil when they are equal.
public func difference<Element: Equatable>(
    _ found: some Collection<Element>, _ expected: some Collection<Element>
) -> String? {
    let pairs = zip(found, expected)
    let differing = pairs.reduce(0) { $0 + ($1.0 == $1.1 ? 0 : 1) }
    guard differing > 0 || found.count != expected.count else { return nil }
    var text = found.count == expected.count ? "" : "\(found.count) elements, expected \(expected.count)"
    if let (index, (one, other)) = pairs.enumerated().first(where: { $1.0 != $1.1 }) {
        func short(_ element: Element) -> String { String("\(element)".prefix(200)) }
        text += text.isEmpty ? "" : "; "
        text += "element \(index) is \(short(one)), expected \(short(other)); \(differing) of \(found.count) differ"
    }
    return text
}

private func record(_ difference: String, _ what: String, _ sourceLocation: SourceLocation) {
    Issue.record(
        Comment(rawValue: what.isEmpty ? difference : "\(what): \(difference)"), sourceLocation: sourceLocation)
}
