/// Guesses a sequence's next tokens from its own past: what followed the last few tokens when they last occurred
/// (prompt lookup decoding, Saxena, 2023). Text that is copied, edited or structured repeats itself.
///
/// A value without I/O. It keeps account of how often its guesses were right, from which ``SpeculationPlanner`` decides
/// how many are worth a place in the next pass.
struct PromptLookup: Sendable {
    /// A guess at what comes next.
    struct Guess: Sendable, Equatable {
        /// The tokens, likeliest right at the beginning.
        var tokens: [Int32]
        /// The share of tokens like the first of these that were right lately.
        var confidence: Double
        /// Which length of match it rests on.
        fileprivate var kind: Int
    }

    /// One length of match.
    private struct Kind: Sendable {
        let length: Int
        /// What to believe before anything is known.
        let prior: Double
        var confidence: Double
        /// For each run of `length` tokens, where the token after its latest occurrence stands.
        var places: [UInt64: Int] = [:]

        init(length: Int, prior: Double) {
            (self.length, self.prior) = (length, prior)
            confidence = prior
        }
    }

    private var tokens: [Int32]
    private var indexed = 0
    // Longer matches are right more often and come first; short ones find the way back after an edit.
    private var kinds = [Kind(length: 4, prior: 0.8), Kind(length: 2, prior: 0.4)]

    private static let learningRate = 0.15
    private static let forgettingRate = 0.005

    /// A lookup over the tokens so far.
    init(_ tokens: [Int32]) { self.tokens = tokens }

    /// Takes in the next token.
    mutating func append(_ token: Int32) { tokens.append(token) }

    /// At most `most` tokens that may come next; nil when the last tokens are new.
    mutating func guess(_ most: Int) -> Guess? {
        guard most > 0 else { return nil }
        index()
        for (number, kind) in kinds.enumerated() where tokens.count >= kind.length {
            guard let place = kind.places[key(endingAt: tokens.count, kind.length)] else { continue }
            var guessed: [Int32] = []
            guessed.reserveCapacity(most)
            for next in place..<place + most {
                // Beyond the end of what is known, the repetition goes on with the guess itself
                guessed.append(next < tokens.count ? tokens[next] : guessed[next - tokens.count])
            }
            return Guess(tokens: guessed, confidence: kind.confidence, kind: number)
        }
        return nil
    }

    /// Notes how many of the tokens that were tried of a guess were right.
    mutating func note(_ guess: Guess, tried: Int, right: Int) {
        guard tried > 0 else {
            // Not worth trying now; after a while it is tried again
            kinds[guess.kind].confidence +=
                Self.forgettingRate * (kinds[guess.kind].prior - kinds[guess.kind].confidence)
            return
        }
        for trial in 0..<min(tried, right + 1) {
            kinds[guess.kind].confidence +=
                Self.learningRate * ((trial < right ? 1 : 0) - kinds[guess.kind].confidence)
        }
    }

    /// Indexes the runs of tokens that a token has followed since the last time.
    private mutating func index() {
        for end in indexed..<tokens.count {
            for number in kinds.indices where end >= kinds[number].length {
                kinds[number].places[key(endingAt: end, kinds[number].length)] = end
            }
        }
        indexed = tokens.count
    }

    /// Some tokens as one number. Two runs may share one, which does no harm: guesses are verified.
    private func key(endingAt end: Int, _ length: Int) -> UInt64 {
        tokens[end - length..<end].reduce(0) { $0 &* 0x9E37_79B9_7F4A_7C15 &+ UInt64(UInt32(bitPattern: $1)) &+ 1 }
    }
}
