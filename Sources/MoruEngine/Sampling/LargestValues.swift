/// A value and where it stands.
package struct IndexedValue: Sendable, Hashable {
    package var index: Int
    package var value: Float

    /// Whether this one comes first: larger values do, and of equal ones the lower index.
    fileprivate func precedes(_ other: IndexedValue) -> Bool {
        value > other.value || (value == other.value && index < other.index)
    }
}

/// The `count` largest of some values, largest first and of equal ones the lower index first, without sorting the rest.
///
/// A heap of the best so far lies with its worst at the root, which most values fail to beat.
///
/// - Parameter floor: Values below this do not count.
package func largest(
    _ count: Int, of values: UnsafeBufferPointer<Float>, atLeast floor: Float = -.infinity
) -> [IndexedValue] {
    guard count > 0 else { return [] }
    var heap: [IndexedValue] = []
    heap.reserveCapacity(min(count, values.count))
    func sink(_ start: Int) {
        var parent = start
        let moved = heap[parent]
        while true {
            var child = 2 * parent + 1
            guard child < heap.count else { break }
            if child + 1 < heap.count, heap[child].precedes(heap[child + 1]) { child += 1 }
            guard moved.precedes(heap[child]) else { break }
            heap[parent] = heap[child]
            parent = child
        }
        heap[parent] = moved
    }
    var index = 0
    while index < values.count, heap.count < count {
        if values[index] >= floor { heap.append(IndexedValue(index: index, value: values[index])) }
        index += 1
    }
    for parent in stride(from: heap.count / 2 - 1, through: 0, by: -1) { sink(parent) }
    while index < values.count {
        // A later index loses against an equal value.
        if values[index] > heap[0].value {
            heap[0] = IndexedValue(index: index, value: values[index])
            sink(0)
        }
        index += 1
    }
    return heap.sorted { $0.precedes($1) }
}

/// The largest of some values, the first of equal ones, and whether all values are finite.
package func maximum(of values: UnsafeBufferPointer<Float>) -> (index: Int, value: Float, allFinite: Bool) {
    typealias Lanes = SIMD16<Float>
    let width = Lanes.scalarCount
    var best = Lanes(repeating: -.infinity)
    var poison = Lanes.zero
    let bytes = UnsafeRawBufferPointer(values)
    let whole = values.count / width * width
    for start in stride(from: 0, to: whole, by: width) {
        let lanes = bytes.loadUnaligned(fromByteOffset: start * MemoryLayout<Float>.stride, as: Lanes.self)
        best.replace(with: lanes, where: lanes .> best)
        // 0 for a finite value, NaN otherwise, and NaN stays
        poison += lanes - lanes
    }
    var value = best.max()
    var tail: Float = 0
    for index in whole..<values.count {
        value = max(value, values[index])
        tail += values[index] - values[index]
    }
    let allFinite = (poison.sum() + tail).isFinite
    var index = 0
    let sought = Lanes(repeating: value)
    while index < whole {
        let lanes = bytes.loadUnaligned(fromByteOffset: index * MemoryLayout<Float>.stride, as: Lanes.self)
        if any(lanes .== sought) { break }
        index += width
    }
    return (values[index...].firstIndex(of: value) ?? 0, value, allFinite)
}
