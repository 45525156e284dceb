import CMoruKernels
import Testing

/// Every level's LSTM and GRU steps against the scalar ones.
struct RecurrentTests {
    private struct Step {
        var gates, cell, output: [Float]
    }

    private func forward(
        _ level: Level, isLSTM: Bool, rows: Int, hidden: Int, _ x: [Float], _ h: [Float], _ b: [Float],
        _ previous: [Float]
    ) -> Step {
        var step = Step(
            gates: Array(repeating: 0, count: rows * 4 * hidden), cell: Array(repeating: 0, count: rows * hidden),
            output: Array(repeating: 0, count: rows * hidden))
        x.withUnsafeBufferPointer { x in
            h.withUnsafeBufferPointer { h in
                b.withUnsafeBufferPointer { b in
                    previous.withUnsafeBufferPointer { previous in
                        step.gates.withUnsafeMutableBufferPointer { gates in
                            step.cell.withUnsafeMutableBufferPointer { cell in
                                step.output.withUnsafeMutableBufferPointer { output in
                                    var arguments = moru_recurrent(
                                        rows: rows, hidden: hidden, input: x.baseAddress, recurrent: h.baseAddress,
                                        bias: b.baseAddress, previous: previous.baseAddress, gates: gates.baseAddress,
                                        cell: cell.baseAddress, output: output.baseAddress)
                                    // In two parts, as two threads would
                                    let middle = hidden / 2
                                    for (begin, end) in [(0, middle), (middle, hidden)] {
                                        if isLSTM {
                                            level.functions.lstm(&arguments, begin, end)
                                        } else {
                                            level.functions.gru(&arguments, begin, end)
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
        return step
    }

    private func backward(
        _ level: Level, isLSTM: Bool, rows: Int, hidden: Int, _ step: Step, _ previous: [Float], _ dy: [Float],
        _ dr: [Float], _ carry: [Float]
    ) -> [[Float]] {
        let width = (isLSTM ? 4 : 3) * hidden
        var (dInput, dHidden, carry) = (
            [Float](repeating: 0, count: rows * width), [Float](repeating: 0, count: rows * width), carry
        )
        step.gates.withUnsafeBufferPointer { gates in
            step.cell.withUnsafeBufferPointer { cell in
                previous.withUnsafeBufferPointer { previous in
                    dy.withUnsafeBufferPointer { dy in
                        dr.withUnsafeBufferPointer { dr in
                            carry.withUnsafeMutableBufferPointer { carry in
                                dInput.withUnsafeMutableBufferPointer { dInput in
                                    dHidden.withUnsafeMutableBufferPointer { dHidden in
                                        var arguments = moru_recurrent_gradient(
                                            rows: rows, hidden: hidden, gates: gates.baseAddress,
                                            cell: cell.baseAddress, previous: previous.baseAddress,
                                            d_output: dy.baseAddress, d_recurrent: dr.baseAddress,
                                            carry: carry.baseAddress, d_input: dInput.baseAddress,
                                            d_hidden: dHidden.baseAddress)
                                        if isLSTM {
                                            level.functions.lstm_backward(&arguments, 0, hidden)
                                        } else {
                                            level.functions.gru_backward(&arguments, 0, hidden)
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
        return [dInput, dHidden, carry]
    }

    @Test(arguments: [true, false]) func everyLevelAgreesWithTheReference(isLSTM: Bool) {
        var random = Random(isLSTM ? 7 : 8)
        for (rows, hidden) in [(1, 1), (2, 16), (3, 37), (5, 64), (1, 129)] {
            let width = rows * hidden
            let gates = isLSTM ? 4 : 3
            let (x, h) = (random.floats(gates * width, -3...3), random.floats(gates * width, -3...3))
            let (b, previous) = (random.floats(gates * hidden), random.floats(width))
            let (dy, dr, carry) = (random.floats(width), random.floats(width), random.floats(width))
            let expected = forward(Level.all[0], isLSTM: isLSTM, rows: rows, hidden: hidden, x, h, b, previous)
            let gradients = backward(
                Level.all[0], isLSTM: isLSTM, rows: rows, hidden: hidden, expected, previous, dy, dr, carry)
            for level in Level.all.dropFirst() {
                let found = forward(level, isLSTM: isLSTM, rows: rows, hidden: hidden, x, h, b, previous)
                expectClose(found.output, doubles(expected.output), tolerance: 1e-6, "\(level.name) output")
                expectClose(found.gates, doubles(expected.gates), tolerance: 1e-6, "\(level.name) gates")
                expectClose(found.cell, doubles(expected.cell), tolerance: 1e-6, "\(level.name) cell")
                let foundGradients = backward(
                    level, isLSTM: isLSTM, rows: rows, hidden: hidden, expected, previous, dy, dr, carry)
                for (found, expected) in zip(foundGradients, gradients) {
                    expectClose(found, doubles(expected), tolerance: 2e-6, "\(level.name) gradients")
                }
            }
        }
    }
}
