import MoruBase

/// Too much waits already: what there is, and when to come again. The cause of ``MoruError/Code/engineOverloaded``.
public struct EngineOverload: Error, Sendable, Hashable, CustomStringConvertible {
    /// Requests that wait.
    public var waitingRequests: Int
    /// Their tokens, of prompts and of likely answers.
    public var waitingTokens: Int
    /// Tokens that the engine computes a second; nil when none have been computed yet.
    public var tokensPerSecond: Double?
    /// After how many seconds there will likely be room.
    public var retryAfterSeconds: Int

    /// The load in words.
    public var description: String {
        let rate = tokensPerSecond.map { ", computed at \(Int($0.rounded())) a second" } ?? ""
        return "\(waitingRequests) requests with about \(waitingTokens) tokens wait\(rate)"
    }
}

/// Decides whether a request may wait, by what waits already and how fast it goes. Refusing at once is better than an
/// answer that nobody waits for any more.
///
/// A value without I/O.
package struct AdmissionControl: Sendable {
    /// The most tokens that may wait; nil for no bound.
    let maximumTokens: Int?
    /// The longest likely wait; nil for no bound.
    let maximumSeconds: Double?
    package private(set) var waitingTokens = 0
    private(set) var waitingRequests = 0
    private(set) var refusedCount = 0
    /// Of late: the weight of what was measured fades.
    private var computed = (tokens: 0.0, seconds: 0.0)
    private var typicalAnswer: Double?

    private static let memorySeconds = 10.0
    /// What an answer is taken to have before any has ended.
    private static let assumedAnswer = 128

    /// Admission within limits; nil for none.
    package init(maximumTokens: Int?, maximumSeconds: Double?) {
        (self.maximumTokens, self.maximumSeconds) = (maximumTokens, maximumSeconds)
    }

    /// Tokens computed a second; nil while nothing is known.
    var tokensPerSecond: Double? { computed.seconds > 0 ? computed.tokens / computed.seconds : nil }

    /// Lets a request wait.
    ///
    /// - Returns: What it counts for, to be given to ``leave(_:)``.
    /// - Throws: ``MoruError/Code/engineOverloaded``.
    mutating func admit(_ request: GenerationRequest) throws(MoruError) -> Int {
        try admit(promptTokens: request.prompt.count, maximumTokens: request.maximumTokens)
    }

    /// Lets a request of so many tokens wait; see ``admit(_:)``.
    package mutating func admit(promptTokens: Int, maximumTokens: Int = 0) throws(MoruError) -> Int {
        let cost = try cost(promptTokens: promptTokens, maximumTokens: maximumTokens)
        waitingRequests += 1
        waitingTokens += cost
        return cost
    }

    /// What a request would count for.
    ///
    /// - Throws: ``MoruError/Code/engineOverloaded`` when it may not wait.
    mutating func cost(promptTokens: Int, maximumTokens: Int) throws(MoruError) -> Int {
        let answer = min(maximumTokens, typicalAnswer.map { Int($0.rounded(.up)) } ?? Self.assumedAnswer)
        let cost = promptTokens + answer
        // Where nothing waits, there is no sooner
        if waitingRequests > 0 {
            let rate = tokensPerSecond
            var excess = self.maximumTokens.map { Double(waitingTokens + cost - $0) } ?? 0
            if let maximumSeconds, let rate { excess = max(excess, Double(waitingTokens) - maximumSeconds * rate) }
            guard excess <= 0 else {
                refusedCount += 1
                let seconds = rate.map { excess / max($0, 1e-3) } ?? 1
                throw refusal(retryAfter: Int(min(3600, max(1, seconds.rounded(.up)))))
            }
        }
        return cost
    }

    private func refusal(retryAfter seconds: Int) -> MoruError {
        let load = EngineOverload(
            waitingRequests: waitingRequests, waitingTokens: waitingTokens, tokensPerSecond: tokensPerSecond,
            retryAfterSeconds: seconds)
        return MoruError(
            .engineOverloaded, "the engine is overloaded: \(load)",
            remedy: "send the request again in \(seconds) s, or to another server", cause: load)
    }

    /// A request no longer waits: it has begun, or was given up.
    package mutating func leave(_ cost: Int) {
        waitingRequests -= 1
        waitingTokens -= cost
    }

    /// Some of the tokens of a request that waits have been computed.
    package mutating func advance(_ tokens: Int) { waitingTokens -= tokens }

    /// A step has computed tokens.
    package mutating func note(tokens: Int, seconds: Double) {
        let fading = max(0, 1 - seconds / Self.memorySeconds)
        computed = (computed.tokens * fading + Double(tokens), computed.seconds * fading + seconds)
    }

    /// An answer has ended.
    mutating func note(answer tokens: Int) {
        typicalAnswer = typicalAnswer.map { $0 + 0.1 * (Double(tokens) - $0) } ?? Double(tokens)
    }
}
