import MoruBase
import MoruNN
import MoruTensor

/// What turns the hidden states of a text into one vector (Reimers and Gurevych, 2019), in the layout of
/// sentence-transformers: pooling, then projections and normalisation.
public struct SentenceModules: Sendable {
    /// How the hidden states of a text become one vector.
    public enum Pooling: String, Sendable, Hashable, CaseIterable {
        /// The state of the first token.
        case cls
        /// The largest value of each element.
        case max
        /// The mean.
        case mean
        /// The sum, divided by the root of the number of tokens.
        case meanSquareRootLength = "mean_sqrt_len_tokens"
        /// The mean, weighted by position (Muennighoff, 2022).
        case weightedMean = "weightedmean"
        /// The state of the last token.
        case lastToken = "lasttoken"
    }

    /// What follows the pooling.
    public enum Step: Sendable {
        /// A fully connected layer, and the activation function after it.
        case dense(Linear, Activation?)
        /// Division by the Euclidean length.
        case normalize
    }

    /// The poolings, whose vectors lie one after the other.
    public var poolings: [Pooling]
    /// Whether the tokens of a prompt are pooled too.
    public var includesPrompt: Bool
    /// What follows.
    public var steps: [Step]
    /// The most tokens that the makers trained with; nil for the network's own limit.
    public var maximumTokens: Int?
    /// Whether texts are lowercased before they are tokenized.
    public var lowercases: Bool
    /// Texts that go before others, by name, such as `query`.
    public var prompts: [String: String]
    /// The prompt that is used where none is named.
    public var defaultPrompt: String?

    /// Makes modules.
    public init(
        poolings: [Pooling], steps: [Step] = [.normalize], maximumTokens: Int? = nil, lowercases: Bool = false,
        includesPrompt: Bool = true, prompts: [String: String] = [:], defaultPrompt: String? = nil
    ) {
        (self.poolings, self.steps, self.maximumTokens) = (poolings, steps, maximumTokens)
        (self.lowercases, self.includesPrompt) = (lowercases, includesPrompt)
        (self.prompts, self.defaultPrompt) = (prompts, defaultPrompt)
    }

    /// The parameters of the projections.
    public var parameters: [Parameter] {
        steps.flatMap { step in
            if case .dense(let layer, _) = step { return layer.parameters }
            return []
        }
    }

    /// Elements of the vectors of a network with so many elements in a hidden state.
    public func dimensions(hiddenSize: Int) -> Int {
        steps.reduce(hiddenSize * poolings.count) { size, step in
            if case .dense(let layer, _) = step { return layer.outputs }
            return size
        }
    }

    /// The vectors [segments.count, dimensions] of texts; differentiable.
    ///
    /// - Parameters:
    ///   - states: The hidden states [N, D].
    ///   - segments: The rows of each text, none of them empty.
    public func callAsFunction(_ states: Tensor, segments: [Range<Int>]) -> Tensor {
        let pooled = poolings.map { pool(states, segments, $0) }
        var x = pooled.count == 1 ? pooled[0] : Self.joinedColumns(pooled)
        for step in steps {
            switch step {
            case .dense(let layer, let activation):
                x = x.inFewRows { layer($0) }
                if let activation { x = x.activated(by: activation) }
            case .normalize: x = Self.normalized(x)
            }
        }
        return x
    }

    private func pool(_ x: Tensor, _ segments: [Range<Int>], _ pooling: Pooling) -> Tensor {
        switch pooling {
        case .cls: x.gatheringRows(segments.map(\.lowerBound))
        case .lastToken: x.gatheringRows(segments.map { $0.upperBound - 1 })
        case .max: x.maximaOfSegments(segments)
        case .mean: x.sumsOfSegments(segments) { 1 / Float($1) }
        case .meanSquareRootLength: x.sumsOfSegments(segments) { 1 / Float($1).squareRoot() }
        case .weightedMean: x.sumsOfSegments(segments) { Float(2 * ($0 + 1)) / Float($1 * ($1 + 1)) }
        }
    }

    /// Rows of length 1; a row of zeros stays.
    package static func normalized(_ x: Tensor) -> Tensor {
        // The root mean square is the length over the root of the number of elements
        let dim = x.shape[1]
        return x.rmsNorm(.filled(1 / Float(dim).squareRoot(), [dim]), epsilon: 1e-24)
    }

    /// The columns of several matrices of the same rows, one after the other.
    private static func joinedColumns(_ parts: [Tensor]) -> Tensor {
        Tensor.concatenated(parts.map { $0.transposed() }).transposed()
    }
}
