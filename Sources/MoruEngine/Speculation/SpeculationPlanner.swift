/// Decides how many guessed tokens to verify in a pass.
///
/// A pass of few rows is bound by reading the weights, so that further rows cost little, but not nothing: what they
/// cost is measured, what they bring is known from how often guesses were right, and as many are taken as promise the
/// most tokens a second. Where that is none, none are taken.
struct SpeculationPlanner: Sendable {
    /// A sequence that takes one token in the coming pass, and its guess.
    struct Candidate: Sendable {
        /// How often the guesses were right lately.
        var confidence: Double
        /// How many tokens are guessed.
        var count: Int
    }

    /// The most rows of a pass.
    let maximumRows: Int
    /// Typical seconds of a pass of each number of rows; nil where none was measured.
    private var seconds: [Double?]
    /// What a further row costs of a pass of one row, before anything is measured.
    private static let assumedRowCost = 0.15
    /// By how much guesses must promise to make a pass better at least.
    private let minimumGain: Double
    /// What is more than noise in the measurements.
    static let noticeableGain = 1.04

    /// A planner that has measured nothing.
    init(maximumRows: Int, minimumGain: Double = noticeableGain) {
        self.maximumRows = maximumRows
        self.minimumGain = minimumGain
        seconds = Array(repeating: nil, count: maximumRows + 1)
    }

    /// Notes what a pass took.
    mutating func note(rows: Int, seconds time: Double) {
        guard 1...maximumRows ~= rows else { return }
        guard let old = seconds[rows] else {
            seconds[rows] = time
            return
        }
        // Something else may have held the machine up: a single slow pass says little
        seconds[rows] = old + 0.1 * (min(time, 2 * old) - old)
    }

    /// How many tokens of each candidate's guess to verify.
    ///
    /// - Parameter rows: The rows that the pass has without guesses, at least one for each candidate.
    func plan(_ candidates: [Candidate], rows: Int) -> [Int] {
        var counts = Array(repeating: 0, count: candidates.count)
        var best = counts
        var tokens = Double(candidates.count)
        var bestRate = tokens / cost(rows) * minimumGain
        var total = rows
        while total < maximumRows {
            // The next row goes to the guess that most likely brings a token: all before it must be right too
            let values = candidates.indices.map { index in
                counts[index] < candidates[index].count
                    ? power(candidates[index].confidence, counts[index] + 1) : -1
            }
            guard let next = values.indices.max(by: { values[$0] < values[$1] }), values[next] > 0 else { break }
            counts[next] += 1
            tokens += values[next]
            total += 1
            let rate = tokens / cost(total)
            if rate > bestRate { (best, bestRate) = (counts, rate) }
        }
        return best
    }

    /// What a pass of a draft model costs.
    enum PassCost {
        case seconds(Double)
        /// A share of a pass of one row of the large model.
        case share(Double)
    }

    /// How many tokens a draft model should guess for each of some sequences, token by token in step: as many as promise
    /// the most tokens a second, its own time counted.
    ///
    /// - Parameter rows: The rows that the pass has without guesses, at least one for each sequence.
    func draftLength(_ confidences: [Double], rows: Int, most: Int, passCost: PassCost) -> Int {
        let pass =
            switch passCost {
            case .seconds(let measured): seconds.contains { $0 != nil } ? measured : cost(1) * Self.assumedRowCost
            case .share(let share): cost(1) * share
            }
        var best = 0
        var tokens = Double(confidences.count)
        var bestRate = tokens / cost(rows) * minimumGain
        var length = 1
        while length <= most, rows + length * confidences.count <= maximumRows {
            for confidence in confidences { tokens += power(confidence, length) }
            let rate = tokens / (cost(rows + length * confidences.count) + Double(length) * pass)
            if rate > bestRate { (best, bestRate) = (length, rate) }
            length += 1
        }
        return best
    }

    /// Seconds of a pass, or what is proportional to them while nothing is measured.
    private func cost(_ rows: Int) -> Double {
        if let measured = seconds[rows] { return measured }
        let known = (1...maximumRows).filter { seconds[$0] != nil }
        guard let below = known.last(where: { $0 < rows }) ?? known.first, let base = seconds[below] else {
            return 1 + Self.assumedRowCost * Double(rows - 1)
        }
        if below < rows, let above = known.first(where: { $0 > rows }), let high = seconds[above] {
            return base + (high - base) * Double(rows - below) / Double(above - below)
        }
        let first = base / (1 + Self.assumedRowCost * Double(below - 1))
        return max(first * 0.5, base + first * Self.assumedRowCost * Double(rows - below))
    }

    private func power(_ base: Double, _ exponent: Int) -> Double {
        (0..<exponent).reduce(1) { value, _ in value * base }
    }
}
