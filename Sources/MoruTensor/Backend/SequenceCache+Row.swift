extension SequenceCache {
    /// The keys and values stored for one position of a layer, copied: each [rowElements].
    ///
    /// A recurrent model keeps its states where others keep keys and values, and goes on from those of the last position.
    package func row(_ position: Int, layer: Int) -> (keys: Tensor, values: Tensor) {
        precondition(
            0..<capacity(layer: layer) ~= position, "position \(position) is not stored in layer \(layer)")
        let pages = pages(layer: layer)
        let (page, slot) = position.quotientAndRemainder(dividingBy: Self.pageTokens)
        func copy(_ pages: [UnsafePointer<Float>?]) -> Tensor {
            let row = Tensor(uninitialized: [rowElements])
            if let first = pages[page] { row.floats.update(from: first + slot * rowElements, count: rowElements) }
            return row
        }
        return withExtendedLifetime(self) { (copy(pages.keys), copy(pages.values)) }
    }
}
