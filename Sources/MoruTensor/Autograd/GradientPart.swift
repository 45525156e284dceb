import CMoruKernels

/// What an operation adds to the gradient of one of its inputs.
enum GradientPart {
    /// A tensor of the input's shape.
    case whole(Tensor)
    /// Something that is cheaper to add in place than to spell out: rows of a table, a product.
    case added(into: (_ sum: inout Tensor?) -> Void)

    /// Adds to what there is so far.
    func add(to sum: inout Tensor?) {
        switch self {
        case .whole(let part):
            guard sum != nil else { return sum = part }
            sum?.accumulate(part)
        case .added(let body): body(&sum)
        }
    }
}

extension GradientPart {
    /// Consecutive slices of the leading dimension of an input of the given shape; the rest is zeros.
    static func rows(_ dy: Tensor, _ range: Range<Int>, of shape: [Int]) -> GradientPart {
        if range == 0..<shape[0] { return .whole(dy) }
        return .added { sum in
            var total = sum?.converted(to: .f32) ?? .zeros(shape)
            sum = nil
            total.makeUnique()
            let rows = total.rows(range)
            let values = dy.converted(to: .f32)
            Runtime.shared.kernels.add(rows.floats, values.floats, rows.floats, 0, values.count)
            sum = total
        }
    }

    /// Slices of the leading dimension of an input of the given shape, by number; the rest is zeros.
    static func rows(_ dy: Tensor, at ids: [Int32], of shape: [Int]) -> GradientPart {
        .added { sum in
            var total = sum?.converted(to: .f32) ?? .zeros(shape)
            sum = nil
            Runtime.shared.backend.addRows(dy, at: ids, to: &total)
            sum = total
        }
    }
}

extension Tensor {
    /// Adds a tensor of the same shape, in place where nobody else holds this one. Sums are f32.
    mutating func accumulate(_ other: Tensor) {
        requireSameShape(self, other, "accumulate")
        self = converted(to: .f32)
        makeUnique()
        let (runtime, sum, part) = (Runtime.shared, self, other.converted(to: .f32))
        runtime.threads.forAlignedRanges(count, minimum: CPUBackend.grain) {
            runtime.kernels.add(sum.floats, part.floats, sum.floats, $0.lowerBound, $0.upperBound)
        }
    }
}
