import MoruTensor
import MoruText

/// Chooses the tokens of one sequence, one after the other.
///
/// A value that holds the sequence's random numbers and the counts that penalties need, and nothing of other sequences:
/// the same logits, parameters and seed choose the same tokens.
public struct Sampler: Sendable {
    /// How tokens are chosen.
    public let parameters: SamplingParameters
    private var generator: RandomGenerator
    private var promptIDs: Set<Int32> = []
    private var outputCounts: [Int32: Int] = [:]

    /// A sampler that has chosen nothing yet.
    ///
    /// - Parameter prompt: The tokens that the repetition penalty counts as seen.
    public init(_ parameters: SamplingParameters, prompt: [Int32] = []) {
        self.parameters = parameters
        generator = RandomGenerator(seed: parameters.seed ?? UInt64.random(in: 0...UInt64.max))
        if parameters.repetitionPenalty != 1 { promptIDs = Set(prompt) }
    }

    private var changesLogits: Bool {
        !parameters.logitBias.isEmpty || parameters.repetitionPenalty != 1 || countsOutput
    }
    private var countsOutput: Bool { parameters.presencePenalty != 0 || parameters.frequencyPenalty != 0 }

    /// Chooses the next token.
    ///
    /// - Parameters:
    ///   - logits: One finite f32 for each id.
    ///   - allowed: The ids to choose from, at least one; nil for all.
    public mutating func next(_ logits: Tensor, allowed: TokenMask? = nil) -> Int32 {
        let adjusted = changesLogits || allowed != nil ? self.adjusted(logits, allowed) : logits
        let chosen = adjusted.withFloats { values in
            let best = maximum(of: values)
            return parameters.temperature == 0 ? best.index : draw(values, best: best.index, maximum: best.value)
        }
        let id = Int32(chosen)
        if countsOutput || parameters.repetitionPenalty != 1 { outputCounts[id, default: 0] += 1 }
        return id
    }

    /// Logit bias, then the penalties; then what is not allowed is out of the question.
    private func adjusted(_ original: Tensor, _ allowed: TokenMask?) -> Tensor {
        var logits = original.values()
        for (id, bias) in parameters.logitBias { logits[Int(id)] += bias }
        if parameters.repetitionPenalty != 1 {
            for id in promptIDs.union(outputCounts.keys) {
                let logit = logits[Int(id)]
                logits[Int(id)] =
                    logit > 0 ? logit / parameters.repetitionPenalty : logit * parameters.repetitionPenalty
            }
        }
        if countsOutput {
            for (id, count) in outputCounts {
                logits[Int(id)] -= parameters.frequencyPenalty * Float(count) + parameters.presencePenalty
            }
        }
        if let allowed {
            logits.withUnsafeMutableBufferPointer { allowed.replaceOthers(in: $0, with: -.infinity) }
        }
        return Tensor(logits, shape: [logits.count])
    }

    /// Draws an index with one random number.
    private mutating func draw(_ logits: UnsafeBufferPointer<Float>, best: Int, maximum: Float) -> Int {
        let scaled = Tensor(uninitialized: [logits.count])
        let (target, temperature) = (scaled.floats, parameters.temperature)
        for index in 0..<logits.count { target[index] = (logits[index] - maximum) / temperature }
        let draw = generator.uniformDouble()
        return scaled.softmax().withFloats { values in
            let floor = (parameters.minP ?? 0) * values[best]
            guard parameters.topK != nil || parameters.topP != nil else {
                return index(at: draw, values, floor: floor)
            }
            let candidates = likeliest(values, floor: floor)
            var rest = draw * candidates.reduce(0) { $0 + Double($1.value) }
            for candidate in candidates {
                rest -= Double(candidate.value)
                if rest < 0 { return candidate.index }
            }
            return candidates.last?.index ?? best
        }
    }

    /// Where the summed probability of the values not below `floor` passes the share `draw`.
    private func index(at draw: Double, _ values: UnsafeBufferPointer<Float>, floor: Float) -> Int {
        let mass = mass(of: values, floor: floor)
        var rest = draw * mass
        var last = 0
        for (index, value) in values.enumerated() where value >= floor && value > 0 {
            rest -= Double(value)
            if rest < 0 { return index }
            last = index
        }
        return last
    }

    /// The candidates that top-k and top-p leave of the values not below `floor`, likeliest first.
    func likeliest(_ values: UnsafeBufferPointer<Float>, floor: Float) -> [IndexedValue] {
        if let topK = parameters.topK {
            let candidates = largest(topK, of: values, atLeast: floor)
            guard let topP = parameters.topP else { return candidates }
            let mass = candidates.reduce(0) { $0 + Double($1.value) }
            return prefix(of: candidates, mass: Double(topP) * mass) ?? candidates
        }
        let topP = Double(parameters.topP ?? 1)
        let mass = mass(of: values, floor: floor)
        // Usually a few tokens have the mass; only a flat distribution needs more of the order.
        for count in [32, 1024] where count < values.count {
            if let found = prefix(of: largest(count, of: values, atLeast: floor), mass: topP * mass) { return found }
        }
        // Tokens below this have together less than what top-p cuts away, so none of them can be needed.
        let needed = max(floor, Float((1 - topP) * mass / Double(values.count)) * 0.999)
        let candidates = largest(values.count, of: values, atLeast: needed)
        return prefix(of: candidates, mass: topP * mass) ?? candidates
    }

    /// The summed probability of the values not below `floor`.
    private func mass(of values: UnsafeBufferPointer<Float>, floor: Float) -> Double {
        if floor <= 0 { return 1 }
        var sum = 0.0
        for value in values where value >= floor { sum += Double(value) }
        return sum
    }

    /// The first candidates whose values sum up to `mass`, or nil when all of them do not.
    private func prefix(of candidates: [IndexedValue], mass: Double) -> [IndexedValue]? {
        var sum = 0.0
        for (count, candidate) in candidates.enumerated() {
            sum += Double(candidate.value)
            if sum >= mass { return Array(candidates.prefix(count + 1)) }
        }
        return nil
    }
}

extension Tensor {
    /// The elements of an f32 tensor, which lives at least as long as the call.
    func withFloats<Result>(_ body: (UnsafeBufferPointer<Float>) -> Result) -> Result {
        withExtendedLifetime(self) { body(UnsafeBufferPointer(start: floats, count: count)) }
    }
}
