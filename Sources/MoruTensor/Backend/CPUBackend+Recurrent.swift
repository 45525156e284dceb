import CMoruKernels

/// What a recurrent layer keeps of its forward pass.
public struct RecurrentTrace: Sendable {
    /// [N, H].
    var outputs: Tensor
    /// [N, H]; the outputs again for a GRU.
    var cells: Tensor
    /// [N, 4 H], the gates as the kernels keep them.
    var gates: Tensor
}

extension CPUBackend {
    /// Hidden elements that one thread takes at least.
    private static let hiddenBlock = 64

    /// Runs `body` over parts of the hidden elements of a step, one a thread where there is work for them.
    private func forHidden(_ hidden: Int, rows: Int, _ body: (_ begin: Int, _ end: Int) -> Void) {
        let smallest = max(Self.hiddenBlock, (1 << 16) / max(1, rows * hidden))
        threads.forAlignedRanges(hidden, minimum: smallest) { body($0.lowerBound, $0.upperBound) }
    }

    /// The product of `rows` rows with rows of `weight` [n, k]: `ranges` of its n. Every row's result is the same
    /// whatever other rows there are.
    private func product(
        _ x: UnsafePointer<Float>, rows: Int, _ weight: Tensor, into y: UnsafeMutablePointer<Float>,
        _ ranges: [Range<Int>]
    ) {
        let (n, k) = (weight.shape[0], weight.shape[1])
        var arguments = moru_matvec()
        (arguments.rows, arguments.n, arguments.k) = (rows, n, k)
        arguments.w = weight.bytes
        arguments.w_type = weight.dtype.kernelType!
        arguments.w_row_bytes = weight.dtype.byteCount(of: k)!
        arguments.x = UnsafeRawPointer(x)
        arguments.x_row_bytes = k * MemoryLayout<Float>.stride
        arguments.y = y
        arguments.y_row_stride = n
        for range in ranges { kernels.matvec(&arguments, range.lowerBound, range.upperBound) }
    }

    func recurrent(
        _ input: Tensor, weight: Tensor, bias: Tensor, cell: RecurrentCell, active: [Int], initial: RecurrentState
    ) -> RecurrentTrace {
        let (gateCount, hidden, n) = (cell.gateCount, weight.shape[1], input.shape[0])
        let outputs = Tensor(uninitialized: [n, hidden])
        let cells = cell == .lstm ? Tensor(uninitialized: [n, hidden]) : outputs
        let gates = Tensor(uninitialized: [n, 4 * hidden])
        let products = Tensor(uninitialized: [active.first ?? 0, gateCount * hidden])
        var row = 0
        var (output, state) = (initial.output.floats, initial.cell.floats)
        for count in active {
            var arguments = moru_recurrent()
            (arguments.rows, arguments.hidden) = (count, hidden)
            arguments.input = UnsafePointer(input.floats + row * gateCount * hidden)
            arguments.recurrent = UnsafePointer(products.floats)
            arguments.bias = UnsafePointer(bias.floats)
            arguments.previous = UnsafePointer(cell == .lstm ? state : output)
            arguments.gates = gates.floats + row * 4 * hidden
            arguments.cell = cells.floats + row * hidden
            arguments.output = outputs.floats + row * hidden
            let (step, before) = (arguments, UnsafePointer(output))
            forHidden(hidden, rows: count) { begin, end in
                let ranges = (0..<gateCount).map { $0 * hidden + begin..<$0 * hidden + end }
                product(before, rows: count, weight, into: products.floats, ranges)
                withUnsafePointer(to: step) {
                    if cell == .lstm { kernels.lstm($0, begin, end) } else { kernels.gru($0, begin, end) }
                }
            }
            (output, state) = (outputs.floats + row * hidden, cells.floats + row * hidden)
            row += count
        }
        return withExtendedLifetime((input, weight, bias, initial)) {
            RecurrentTrace(outputs: outputs, cells: cells, gates: gates)
        }
    }

    func recurrentBackward(
        _ dOutputs: Tensor, _ trace: RecurrentTrace, weight: Tensor, cell: RecurrentCell, active: [Int],
        initial: RecurrentState
    ) -> (input: Tensor, weight: Tensor, bias: Tensor) {
        let (gateCount, hidden, n) = (cell.gateCount, weight.shape[1], dOutputs.shape[0])
        let width = gateCount * hidden
        let dInput = Tensor(uninitialized: [n, width])
        let dHidden = cell == .lstm ? dInput : Tensor(uninitialized: [n, width])
        // The outputs before each row, for the gradient of the weight
        let before = Tensor(uninitialized: [n, hidden])
        let sequences = active.first ?? 0
        // Sequences that end at a step get nothing from a later one
        let (dRecurrent, carry) = (Tensor.zeros([sequences, hidden]), Tensor.zeros([sequences, hidden]))
        let transposed = weight.transposedCopy()
        var row = n
        for step in active.indices.reversed() {
            let count = active[step]
            let next = row
            row -= count
            let isFirst = step == 0
            let previous = row - (isFirst ? 0 : active[step - 1])
            let output = isFirst ? initial.output.floats : trace.outputs.floats + previous * hidden
            (before.floats + row * hidden).update(from: output, count: count * hidden)
            var arguments = moru_recurrent_gradient()
            (arguments.rows, arguments.hidden) = (count, hidden)
            arguments.gates = UnsafePointer(trace.gates.floats + row * 4 * hidden)
            arguments.cell = UnsafePointer(trace.cells.floats + row * hidden)
            let state = isFirst ? initial.cell.floats : trace.cells.floats + previous * hidden
            arguments.previous = UnsafePointer(cell == .lstm ? state : output)
            arguments.d_output = UnsafePointer(dOutputs.floats + row * hidden)
            arguments.d_recurrent = UnsafePointer(dRecurrent.floats)
            arguments.carry = carry.floats
            arguments.d_input = dInput.floats + row * width
            arguments.d_hidden = dHidden.floats + row * width
            let (fixed, later) = (arguments, step + 1 < active.count ? active[step + 1] : 0)
            forHidden(hidden, rows: count) { begin, end in
                product(
                    UnsafePointer(dHidden.floats + next * width), rows: later, transposed, into: dRecurrent.floats,
                    [begin..<end])
                withUnsafePointer(to: fixed) {
                    if cell == .lstm {
                        kernels.lstm_backward($0, begin, end)
                    } else {
                        kernels.gru_backward($0, begin, end)
                    }
                }
            }
        }
        let dWeight = matmul(dHidden, transposeA: true, before, transposeB: false, alpha: 1, adding: nil)
        return withExtendedLifetime((trace, initial, dOutputs)) { (dInput, dWeight, sumRows(dHidden)) }
    }
}
