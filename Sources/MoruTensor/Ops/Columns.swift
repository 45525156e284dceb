extension Tensor {
    /// Some columns of an f32 matrix [N, D], copied: [N, range.count].
    public func columns(_ range: Range<Int>) -> Tensor {
        precondition(
            rank == 2 && 0...shape[1] ~= range.lowerBound && range.upperBound <= shape[1],
            "columns \(range) lie outside \(shape)")
        guard dtype == .f32 else { return promoted().columns(range) }
        let (rows, width) = (shape[0], shape[1])
        let result = Tensor(uninitialized: [rows, range.count])
        Runtime.shared.threads.forRanges(rows, minimum: max(1, CPUBackend.grain / max(1, range.count))) { part in
            for row in part {
                (result.floats + row * range.count).update(
                    from: floats + row * width + range.lowerBound, count: range.count)
            }
        }
        return result.recording(self) { dy in
            let full = Tensor.zeros([rows, width])
            for row in 0..<rows {
                (full.floats + row * width + range.lowerBound).update(
                    from: dy.floats + row * range.count, count: range.count)
            }
            return [full]
        }
    }
}
