/// What an operation needs of the hardware. Every method computes new tensors from given ones, knows nothing of
/// gradients, and returns when its result may be read; the operations in `Ops` add shape checks and backward rules.
///
/// Matrices are [rows, columns]; token-shaped tensors are [N, heads, headDim] or [N, dim]. Results are f32, except
/// where an operation says that it also takes activations in bf16.
public protocol Backend: Sendable {
    /// `alpha * a op(b) + (addend ?? 0)`, where `a` is [m, k] (or [k, m] when transposed) and `b` is [k, n] (or [n, k]
    /// when transposed, in any dtype). `a` is f32 or bf16; so is the result, as asked, and the addend like it.
    func matmul(
        _ a: Tensor, transposeA: Bool, _ b: Tensor, transposeB: Bool, alpha: Float, adding addend: Tensor?,
        as type: DType
    ) -> Tensor
    /// Adds `op(a) b` to `sum`, in place; to zeros where there is none. Shapes as for the product.
    func addProduct(_ a: Tensor, transposeA: Bool, _ b: Tensor, to sum: inout Tensor?)
    /// `a_i^T b` [m_i, n] of matrices `a_i` [k, m_i], at least one, and `b` [k, n], f32 or bf16.
    func productsOfColumns(_ all: [Tensor], _ b: Tensor) -> [Tensor]
    /// `x w^T` [m, n_i], f32 or bf16, of `x` likewise and each of some weights [n_i, k], in any dtype, with a low-rank
    /// update of each or nil.
    func products(_ x: Tensor, _ weights: [Tensor], _ updates: [OuterUpdate?], as type: DType) -> [Tensor]
    /// The sum of `a_i w_i` [m, k] over pairs, at least one, of [m, n_i] in f32 or bf16 and [n_i, k] in any dtype;
    /// f32, or a single product as asked.
    func sumOfProducts(_ pairs: [(a: Tensor, w: Tensor)], as type: DType) -> Tensor
    /// Rows of `table` [V, D], in any dtype, as [ids.count, D].
    func gatherRows(_ table: Tensor, _ ids: [Int32]) -> Tensor
    /// Adds the rows of `source` [ids.count, D] to rows `ids` of `sum`, whose rows have D elements, in place.
    func addRows(_ source: Tensor, at ids: [Int32], to sum: inout Tensor)

    /// Elementwise, same shapes.
    func add(_ a: Tensor, _ b: Tensor) -> Tensor
    /// Elementwise, same shapes.
    func subtract(_ a: Tensor, _ b: Tensor) -> Tensor
    /// Elementwise, same shapes.
    func multiply(_ a: Tensor, _ b: Tensor) -> Tensor
    /// Elementwise, by a number.
    func scale(_ x: Tensor, by factor: Float) -> Tensor
    /// Elementwise, by a number, in place.
    func scale(_ x: inout Tensor, by factor: Float)
    /// `x` [N, D] with `row` [D] added to each row.
    func addRow(_ x: Tensor, _ row: Tensor) -> Tensor
    /// `x` [N, D] with each row multiplied by `row` [D].
    func multiplyRow(_ x: Tensor, _ row: Tensor) -> Tensor
    /// The sum of the rows of `x` [N, D], as [D].
    func sumRows(_ x: Tensor) -> Tensor
    /// The sum of all elements, as a scalar.
    func sum(_ x: Tensor) -> Tensor

    /// Applies an activation function elementwise.
    func activate(_ x: Tensor, _ function: Activation) -> Tensor
    /// The gradient of an activation's input.
    func activateBackward(_ dy: Tensor, _ x: Tensor, _ function: Activation) -> Tensor
    /// An activation of `gate` times `up`, elementwise, f32 or bf16.
    func gated(gate: Tensor, up: Tensor, by function: Activation) -> Tensor
    /// Turns gate and up into their gradients, and where wanted `dy` into the result again; in place where nobody else
    /// holds them.
    func gatedBackward(
        _ dy: inout Tensor, gate: inout Tensor, up: inout Tensor, by function: Activation, wantsResult: Bool
    )
    /// `cap * tanh(x / cap)`, elementwise.
    func softcap(_ x: Tensor, _ cap: Float) -> Tensor
    /// The gradient of its input, from its output.
    func softcapBackward(_ dy: Tensor, y: Tensor, _ cap: Float) -> Tensor

    /// Root-mean-square normalisation of rows; also [N] inverse roots for the backward pass.
    func rmsNorm(_ x: Tensor, weight: Tensor, epsilon: Float) -> (y: Tensor, inverseRMS: Tensor)
    /// The gradients of x and weight.
    func rmsNormBackward(_ dy: Tensor, _ x: Tensor, weight: Tensor, inverseRMS: Tensor) -> (x: Tensor, weight: Tensor)
    /// The residual stream: `residual + delta` [N, D], f32, where delta may be bf16 (nil adds nothing), and its RMS
    /// normalisation in f32 or bf16; also [N] inverse roots for the backward pass.
    func addRMSNorm(
        _ residual: Tensor, _ delta: Tensor?, weight: Tensor, epsilon: Float, as type: DType
    ) -> (sum: Tensor, y: Tensor, inverseRMS: Tensor)
    /// The gradient of residual and delta alike, from those of the normalised sum, f32 or bf16, and of the sum itself
    /// (nil for none), in f32 and where wanted also in bf16; and where wanted that of the weight.
    func addRMSNormBackward(
        _ dy: Tensor, _ dSum: Tensor?, sum: Tensor, weight: Tensor, inverseRMS: Tensor, wantsNarrow: Bool,
        wantsWeight: Bool
    ) -> (x: Tensor, narrow: Tensor?, weight: Tensor?)
    /// Layer normalisation of rows; also [N] means and inverse deviations for the backward pass.
    func layerNorm(
        _ x: Tensor, weight: Tensor, bias: Tensor?, epsilon: Float
    ) -> (y: Tensor, mean: Tensor, inverseDeviation: Tensor)
    /// The gradients of x, weight and bias.
    func layerNormBackward(
        _ dy: Tensor, _ x: Tensor, weight: Tensor, mean: Tensor, inverseDeviation: Tensor
    ) -> (x: Tensor, weight: Tensor, bias: Tensor)

    /// Softmax of each row of the last dimension.
    func softmax(_ x: Tensor) -> Tensor
    /// The gradient of softmax's input, from its output.
    func softmaxBackward(_ dy: Tensor, y: Tensor) -> Tensor
    /// Each row's negative log-likelihood of its target (0 for a negative target); where the gradient is wanted, the
    /// logits [N, V] become theirs, `(softmax - onehot) * scale`, in place.
    func crossEntropy(_ logits: inout Tensor, targets: [Int32], scale: Float, wantsGradient: Bool) -> Tensor

    /// Turns pairs of each head of `x` [N, heads, headDim], f32 or bf16, by the given angles (or back).
    func rope(_ x: Tensor, _ angles: RotaryAngles, inverse: Bool) -> Tensor

    /// Attention within each segment of q [N, H, D], k and v [N, Hkv, D], all f32 or all bf16; also log-sum-exp [N, H].
    func attention(
        q: Tensor, k: Tensor, v: Tensor, segments: [Range<Int>], _ options: AttentionOptions
    ) -> (out: Tensor, logSumExp: Tensor)
    /// The gradients of q, k and v.
    func attentionBackward(
        _ dOut: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, logSumExp: Tensor, segments: [Range<Int>],
        _ options: AttentionOptions
    ) -> (q: Tensor, k: Tensor, v: Tensor)
    /// The probabilities [N, E] of a router's logits, and of each row the experts with the highest, [N, K] flat, and their
    /// weights [N, K].
    func route(
        _ logits: Tensor, _ options: RoutingOptions
    ) -> (probabilities: Tensor, weights: Tensor, choices: [Int32])
    /// Rows of `x` [N, D], f32 or bf16, grouped by expert.
    func groupRows(_ x: Tensor, _ rows: ExpertRows) -> Tensor
    /// The sums [N, D] of each row's results among grouped ones in f32, times their weights [N, K] where there are any.
    func ungroupRows(_ x: Tensor, _ rows: ExpertRows, weights: Tensor?) -> Tensor
    /// The gradients of grouped results and of their weights.
    func ungroupRowsBackward(
        _ dy: Tensor, _ x: Tensor, _ rows: ExpertRows, weights: Tensor
    ) -> (x: Tensor, weights: Tensor)
    /// For each list of weights [n, k], one for each group: `x_g w_g^T` [M, n], f32 or bf16, of the groups of rows of
    /// `x` [M, k] likewise.
    func expertProducts(_ x: Tensor, _ groups: [Range<Int>], _ weights: [[Tensor]], as type: DType) -> [Tensor]
    /// The sum of `a_g w_g` [M, k] over pairs, at least one, of groups of rows of [M, n] and weights [n, k] of each
    /// group; f32, or of a single pair as asked.
    func sumOfExpertProducts(
        _ pairs: [(a: Tensor, weights: [Tensor])], _ groups: [Range<Int>], as type: DType
    ) -> Tensor
    /// A recurrent layer over rows in the order of time; arguments as ``recurrent(_:weight:bias:cell:active:initial:)``.
    func recurrent(
        _ input: Tensor, weight: Tensor, bias: Tensor, cell: RecurrentCell, active: [Int], initial: RecurrentState
    ) -> RecurrentTrace
    /// The gradients of input, weight and bias.
    func recurrentBackward(
        _ dOutputs: Tensor, _ trace: RecurrentTrace, weight: Tensor, cell: RecurrentCell, active: [Int],
        initial: RecurrentState
    ) -> (input: Tensor, weight: Tensor, bias: Tensor)
    /// A decoder's layers, prepared for few rows to pass, each with its sequence's cache.
    func decoderPass(_ layers: [DecoderLayer]) -> any DecoderPass
    /// Products [N, outputs] and a low-rank update of the few rows [N, inputs] that they are of.
    func addUpdate(_ factors: LowRankFactors, of x: Tensor, to product: Tensor) -> Tensor
    /// The output projection of a language model, prepared for its loss.
    ///
    /// - Parameter isRepeated: Whether it is used for several groups of rows.
    func outputPass(_ weight: Tensor, isRepeated: Bool) -> any OutputPass
    /// An encoder's weights, prepared for texts to pass.
    func encoderPass(
        norm: EncoderNorm, layers: [EncoderLayer], heads: Int, activation: Activation
    ) -> any EncoderPass
    /// Attention of each run's query rows over that sequence's cached keys and values.
    func cachedAttention(q: Tensor, runs: [CachedAttentionRun], _ options: AttentionOptions) -> Tensor
}

extension Backend {
    /// The product in f32.
    public func matmul(
        _ a: Tensor, transposeA: Bool, _ b: Tensor, transposeB: Bool, alpha: Float, adding addend: Tensor?
    ) -> Tensor {
        matmul(a, transposeA: transposeA, b, transposeB: transposeB, alpha: alpha, adding: addend, as: .f32)
    }
}

/// Elementwise activation functions.
public enum Activation: String, Sendable, Hashable, Codable {
    /// `x * sigmoid(x)`.
    case silu
    /// `x * Phi(x)` with the error function.
    case gelu
    /// The tanh approximation of GELU (Hendrycks and Gimpel, 2016).
    case geluTanh = "gelu_tanh"
    /// `max(x, 0)`.
    case relu
    /// The hyperbolic tangent.
    case tanh
}

/// How attention scores are formed and masked.
public struct AttentionOptions: Sendable, Hashable {
    /// What scores are multiplied by, usually `1 / sqrt(headDim)`.
    public var scale: Float
    /// Whether a position sees only itself and what came before.
    public var causal: Bool
    /// Sliding window: a position sees only the last `window` positions, itself included; nil sees all.
    public var window: Int?
    /// Scores become `softcap * tanh(score / softcap)` after they are scaled (Gemma 2); nil for none.
    public var softcap: Float?

    /// Makes options.
    public init(scale: Float, causal: Bool = true, window: Int? = nil, softcap: Float? = nil) {
        self.scale = scale
        self.causal = causal
        self.window = window
        self.softcap = softcap
    }
}

/// Query rows that attend to one layer of one sequence's cache.
public struct CachedAttentionRun: Sendable {
    /// Rows of the query tensor.
    public var rows: Range<Int>
    /// The position of the first of them in its sequence.
    public var firstPosition: Int
    /// The keys and values, those of the query rows included.
    public var cache: SequenceCache
    /// The layer.
    public var layer: Int

    /// Makes a run.
    public init(rows: Range<Int>, firstPosition: Int, cache: SequenceCache, layer: Int) {
        self.rows = rows
        self.firstPosition = firstPosition
        self.cache = cache
        self.layer = layer
    }
}
