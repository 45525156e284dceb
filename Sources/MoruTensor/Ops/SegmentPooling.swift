extension Tensor {
    /// Weighted sums of the rows of each segment, [segments.count, D], of this f32 tensor [N, D].
    ///
    /// A segment's rows are added up in their order, so that the result does not depend on the other segments.
    ///
    /// - Parameters:
    ///   - segments: Ranges of rows that do not overlap.
    ///   - weight: What a row is multiplied by, from its place in its segment and the segment's rows: `1 / count` makes
    ///     means.
    public func sumsOfSegments(
        _ segments: [Range<Int>], weight: @Sendable @escaping (_ place: Int, _ count: Int) -> Float
    ) -> Tensor {
        requireSegments(segments, "sumsOfSegments")
        guard dtype == .f32 else { return promoted().sumsOfSegments(segments, weight: weight) }
        let (runtime, dim, shape) = (Runtime.shared, shape[1], shape)
        let result = Tensor.zeros([segments.count, dim])
        runtime.threads.run(segments.count) { index in
            let segment = segments[index]
            for row in segment {
                runtime.kernels.add_scaled(
                    floats + row * dim, weight(row - segment.lowerBound, segment.count), result.floats + index * dim,
                    0, dim)
            }
        }
        return result.recording(self) { dy in
            let dx = Tensor.zeros(shape)
            runtime.threads.run(segments.count) { index in
                let segment = segments[index]
                for row in segment {
                    runtime.kernels.add_scaled(
                        dy.floats + index * dim, weight(row - segment.lowerBound, segment.count),
                        dx.floats + row * dim, 0, dim)
                }
            }
            return [dx]
        }
    }

    /// The largest value of each column in each segment's rows, [segments.count, D], of this f32 tensor [N, D].
    ///
    /// - Parameter segments: Ranges of rows that do not overlap; none is empty.
    public func maximaOfSegments(_ segments: [Range<Int>]) -> Tensor {
        requireSegments(segments, "maximaOfSegments")
        precondition(!segments.contains(where: \.isEmpty), "maximaOfSegments: an empty segment has no maximum")
        guard dtype == .f32 else { return promoted().maximaOfSegments(segments) }
        let (dim, shape) = (shape[1], shape)
        let result = Tensor(uninitialized: [segments.count, dim])
        // The row that each maximum is in, for the gradient; the first of equals
        var places = [Int](repeating: 0, count: result.count)
        for (index, segment) in segments.enumerated() {
            for column in 0..<dim {
                var best = segment.lowerBound
                for row in segment where floats[row * dim + column] > floats[best * dim + column] { best = row }
                result.floats[index * dim + column] = floats[best * dim + column]
                places[index * dim + column] = best
            }
        }
        let rows = places
        return result.recording(self) { dy in
            let dx = Tensor.zeros(shape)
            for (index, row) in rows.enumerated() { dx.floats[row * dim + index % dim] = dy.floats[index] }
            return [dx]
        }
    }

    private func requireSegments(_ segments: [Range<Int>], _ operation: String) {
        precondition(
            rank == 2 && segments.allSatisfy { $0.lowerBound >= 0 && $0.upperBound <= shape[0] }
                && zip(segments, segments.dropFirst()).allSatisfy { $0.upperBound <= $1.lowerBound },
            "\(operation): the segments overlap, are out of order or outside \(shape)")
    }
}
