import CMoruKernels

extension CPUBackend {
    func addRows(_ source: Tensor, at ids: [Int32], to sum: inout Tensor) {
        guard !ids.isEmpty else { return }
        sum.makeUnique()
        let (dim, values, total) = (source.count / ids.count, source.converted(to: .f32), sum)
        forColumns(dim, rows: ids.count) { begin, end in
            for (row, id) in ids.enumerated() {
                kernels.add_scaled(values.floats + row * dim, 1, total.floats + Int(id) * dim, begin, end)
            }
        }
    }

    func scale(_ x: inout Tensor, by factor: Float) {
        guard factor != 1 else { return }
        x.makeUnique()
        let values = x.floats
        forElements(x.count) { kernels.scale(values, factor, values, $0, $1) }
    }
}
