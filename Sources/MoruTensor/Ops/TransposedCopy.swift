extension Tensor {
    /// The transpose of a matrix in any plain format, copied; not differentiable.
    package func transposedCopy() -> Tensor {
        precondition(
            rank == 2 && !dtype.isQuantized && !isTracked,
            "transposedCopy: \(dtype) \(shape) is not a matrix in a plain format")
        let result = Tensor(uninitialized: [shape[1], shape[0]], dtype: dtype)
        switch dtype.blockBytes {
        case 2: transpose(UInt16.self, into: result)
        case 4: transpose(UInt32.self, into: result)
        default: transpose(UInt64.self, into: result)
        }
        return result
    }

    private func transpose<Element>(_ type: Element.Type, into result: Tensor) {
        let (rows, columns, edge) = (shape[0], shape[1], 32)
        let from = bytes.assumingMemoryBound(to: Element.self)
        // Each band writes its own rows of the result
        nonisolated(unsafe) let (source, target) = (from, result.storage.base.assumingMemoryBound(to: Element.self))
        // Squares of a few cache lines a side, so that neither side is read or written far apart
        Runtime.shared.threads.forRanges((columns + edge - 1) / edge, minimum: 4) { bands in
            for first in stride(from: bands.lowerBound * edge, to: min(columns, bands.upperBound * edge), by: edge) {
                for top in stride(from: 0, to: rows, by: edge) {
                    for column in first..<min(columns, first + edge) {
                        for row in top..<min(rows, top + edge) {
                            target[column * rows + row] = source[row * columns + column]
                        }
                    }
                }
            }
        }
    }
}
