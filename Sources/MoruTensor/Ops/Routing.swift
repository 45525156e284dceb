/// How a router chooses the experts of a token (Shazeer et al., 2017).
public struct RoutingOptions: Sendable, Hashable {
    /// Experts that each token is sent to.
    public var expertsPerToken: Int
    /// Whether the weights of a token's experts, their probabilities, are divided by their sum.
    public var normalizesWeights: Bool

    /// Makes options.
    public init(expertsPerToken: Int, normalizesWeights: Bool) {
        self.expertsPerToken = expertsPerToken
        self.normalizesWeights = normalizesWeights
    }
}

/// Which rows of a batch go to which expert. Each row is there as often as it has experts, grouped by expert and in the
/// order of the batch, so that an expert finds its rows side by side and nothing is padded.
public struct ExpertRows: Sendable {
    /// Rows of the batch.
    public let rowCount: Int
    /// Experts of each row.
    public let expertsPerRow: Int
    /// The experts that got any rows, ascending.
    public let experts: [Int]
    /// The grouped rows of each of them; they cover ``count``.
    public let groups: [Range<Int>]
    /// The row of the batch that each grouped row is; ascending within a group.
    public let sources: [Int32]
    /// Where each row's experts left their results, those of a row one after the other, by ascending expert.
    let positions: [Int32]
    /// The choice, [N, K] flat, that each grouped row comes from.
    let choices: [Int32]

    /// The number of grouped rows.
    public var count: Int { sources.count }

    /// Groups rows by their experts.
    ///
    /// - Parameter choices: The experts of each row, [N, K] flat.
    init(_ choices: [Int32], expertsPerRow: Int, expertCount: Int) {
        self.expertsPerRow = expertsPerRow
        rowCount = choices.count / max(1, expertsPerRow)
        var starts = [Int](repeating: 0, count: expertCount + 1)
        for expert in choices { starts[Int(expert) + 1] += 1 }
        for expert in 0..<expertCount { starts[expert + 1] += starts[expert] }
        experts = (0..<expertCount).filter { starts[$0 + 1] > starts[$0] }
        groups = experts.map { starts[$0]..<starts[$0 + 1] }
        var sources = [Int32](repeating: 0, count: choices.count)
        var origins = sources
        var positions = sources
        for (choice, expert) in choices.enumerated() {
            let place = starts[Int(expert)]
            starts[Int(expert)] += 1
            sources[place] = Int32(choice / expertsPerRow)
            origins[place] = Int32(choice)
        }
        var filled = [Int](repeating: 0, count: rowCount)
        for (place, source) in sources.enumerated() {
            positions[Int(source) * expertsPerRow + filled[Int(source)]] = Int32(place)
            filled[Int(source)] += 1
        }
        (self.sources, self.positions, self.choices) = (sources, positions, origins)
    }
}

extension Tensor {
    /// Sends each row to the experts that a router's logits [N, E] give the highest probabilities; of equal ones the
    /// first come first.
    ///
    /// - Returns: The rows by expert, and the weights of each row's experts, [N, K], the highest first; differentiable.
    public func routed(_ options: RoutingOptions) -> (rows: ExpertRows, weights: Tensor) {
        precondition(
            rank == 2 && 1...max(1, shape[1]) ~= options.expertsPerToken,
            "routed: logits \(shape) do not choose \(options.expertsPerToken) experts")
        guard dtype == .f32 else { return promoted().routed(options) }
        let backend = Runtime.shared.backend
        let (probabilities, weights, choices) = backend.route(detached(), options)
        let (experts, used) = (shape[1], options.expertsPerToken)
        let recorded = weights.recording(self) { dy in
            // Through the division by the sum, then to the chosen probabilities, then through the softmax
            let chosen = Tensor.zeros(probabilities.shape)
            for row in 0..<dy.shape[0] {
                let (begin, p) = (row * used, probabilities.floats + row * experts)
                var (sum, mean): (Float, Float) = (1, 0)
                if options.normalizesWeights {
                    sum = (0..<used).reduce(0) { $0 + p[Int(choices[begin + $1])] }
                    mean = (0..<used).reduce(0) { $0 + dy.floats[begin + $1] * weights.floats[begin + $1] }
                }
                for k in 0..<used {
                    chosen.floats[row * experts + Int(choices[begin + k])] = (dy.floats[begin + k] - mean) / sum
                }
            }
            return [backend.softmaxBackward(chosen, y: probabilities)]
        }
        return (ExpertRows(choices, expertsPerRow: used, expertCount: experts), recorded)
    }
}

/// How unevenly routers spread a batch over their experts (Fedus et al., 2022, equations 4 to 6, over all layers
/// together): the number of experts times the sum over experts of the share of choices that fell on it, times its mean
/// probability. The number of experts per token where the spread is even, more where it is not.
///
/// - Parameter logits: What the router of each layer said, [N, E] each.
/// - Returns: A scalar; gradients flow through the probabilities.
public func loadBalancingLoss(_ logits: [Tensor], _ options: RoutingOptions) -> Tensor {
    guard let first = logits.first else { preconditionFailure("loadBalancingLoss: no router said anything") }
    let (rows, experts) = (logits.reduce(0) { $0 + $1.shape[0] }, first.shape[1])
    let backend = Runtime.shared.backend
    var counts = [Float](repeating: 0, count: experts)
    for layer in logits {
        for expert in backend.route(layer.detached().promoted(), options).choices { counts[Int(expert)] += 1 }
    }
    let weights = Tensor(counts, shape: [experts])
    let sums = logits.map { $0.softmax().multiplyingRow(weights).sum() }
    return sums.dropFirst().reduce(sums[0], +) * (Float(experts) / (Float(max(1, rows)) * Float(max(1, rows))))
}
