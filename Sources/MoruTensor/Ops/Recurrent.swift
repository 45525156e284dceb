/// The cells of recurrent networks, in PyTorch's equations.
public enum RecurrentCell: String, Sendable, Hashable, CaseIterable, Codable {
    /// Long short-term memory (Hochreiter and Schmidhuber, 1997); gates i, f, g, o.
    case lstm
    /// Gated recurrent unit (Cho et al., 2014); gates r, z, n.
    case gru

    /// The gates whose arguments are products: 4 or 3.
    public var gateCount: Int { self == .lstm ? 4 : 3 }
}

/// The rows of several sequences in the order of time: every sequence's first row, every second one, and so on, the
/// longest sequence first. At each step the rows of the sequences that still go on lie together.
public struct TimeOrder: Sendable, Hashable {
    /// The row of the batch that each row in the order of time is.
    public let rows: [Int]
    /// Where each row of the batch lies in the order of time.
    public let places: [Int]
    /// The sequences, longest first, as they stand side by side at each step.
    public let sequences: [Int]
    /// Sequences that go on at each step; never rising.
    public let active: [Int]

    /// The order of sequences that cover the batch's rows.
    public init(_ segments: [Range<Int>]) {
        sequences = segments.indices.filter { !segments[$0].isEmpty }
            .sorted { (segments[$0].count, $1) > (segments[$1].count, $0) }
        var (rows, active): ([Int], [Int]) = ([], [])
        rows.reserveCapacity(segments.last?.upperBound ?? 0)
        for step in 0..<(sequences.first.map { segments[$0].count } ?? 0) {
            let going = sequences.prefix { segments[$0].count > step }
            rows += going.map { segments[$0].lowerBound + step }
            active.append(going.count)
        }
        var places = [Int](repeating: 0, count: rows.count)
        for (place, row) in rows.enumerated() { places[row] = place }
        (self.rows, self.places, self.active) = (rows, places, active)
    }
}

/// What a recurrent layer hands to its next step, for each sequence: [sequences, H].
public struct RecurrentState: Sendable {
    /// The outputs.
    public var output: Tensor
    /// The cells of an LSTM; the outputs again for a GRU.
    public var cell: Tensor

    /// Makes a state.
    public init(output: Tensor, cell: Tensor) {
        self.output = output
        self.cell = cell
    }
}

/// A recurrent layer over rows in the order of time.
///
/// - Parameters:
///   - input: [N, G * H], the products of the inputs with their weights, with biases; G as ``RecurrentCell/gateCount``.
///   - weight: [G * H, H], of the outputs of the step before; f32, f16 or bf16, f32 to be trained.
///   - bias: [G * H], of the recurrent part.
///   - active: Sequences that go on at each step, as ``TimeOrder/active``; their sum is N.
///   - initial: Where the sequences begin; nil for zeros. No gradient flows into it.
/// - Returns: The outputs [N, H], and the cells [N, H] (the outputs again for a GRU), through which no gradient flows.
public func recurrent(
    _ input: Tensor, weight: Tensor, bias: Tensor, cell: RecurrentCell, active: [Int], initial: RecurrentState? = nil
) -> (outputs: Tensor, cells: Tensor) {
    let input = input.promoted()
    let (gates, hidden) = (cell.gateCount, weight.shape.last ?? 0)
    precondition(
        weight.shape == [gates * hidden, hidden] && bias.shape == [gates * hidden]
            && input.shape == [active.reduce(0, +), gates * hidden],
        "recurrent: input \(input.shape), weight \(weight.shape) and bias \(bias.shape) do not fit")
    precondition(
        zip(active, active.dropFirst()).allSatisfy { $0 >= $1 }, "recurrent: sequences come back after their end")
    precondition(
        !weight.dtype.isQuantized && weight.dtype.isFloatingPoint && (!weight.isTracked || weight.dtype == .f32),
        "recurrent: a \(weight.dtype) weight cannot be used, or not be trained")
    let zeros = Tensor.zeros([active.first ?? 0, hidden])
    let start = initial ?? RecurrentState(output: zeros, cell: zeros)
    precondition(
        [start.output.shape, start.cell.shape].allSatisfy { $0 == [active.first ?? 0, hidden] },
        "recurrent: states \(start.output.shape) for \(active.first ?? 0) sequences of \(hidden) elements")
    let backend = Runtime.shared.backend
    let (x, w, b) = (input.detached(), weight.detached(), bias.detached())
    let trace = backend.recurrent(x, weight: w, bias: b, cell: cell, active: active, initial: start)
    let outputs = trace.outputs.recording(input, weight, bias) { dOutputs in
        let gradients = backend.recurrentBackward(
            dOutputs, trace, weight: w, cell: cell, active: active, initial: start)
        return [gradients.input, gradients.weight, gradients.bias]
    }
    return (outputs, trace.cells)
}
