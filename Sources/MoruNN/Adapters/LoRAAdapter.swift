import MoruBase
import MoruTensor

/// What shape a low-rank adapter has.
public struct LoRAConfiguration: Sendable, Hashable {
    /// The rank of the update.
    public var rank: Int
    /// The update is scaled by `alpha / rank`, or by `alpha / sqrt(rank)` when rank-stabilised.
    public var alpha: Float
    /// The probability with which an input feature is dropped in training.
    public var dropout: Float
    /// The last path components of the layers that are adapted, such as `q_proj`.
    public var targets: [String]
    /// Whether the scale is rank-stabilised (Kalajdzievski, 2023).
    public var usesRankStabilization: Bool

    /// Makes a configuration.
    public init(
        rank: Int = 8, alpha: Float = 16, dropout: Float = 0,
        targets: [String] = ["q_proj", "k_proj", "v_proj", "o_proj"], usesRankStabilization: Bool = false
    ) {
        self.rank = rank
        self.alpha = alpha
        self.dropout = dropout
        self.targets = targets
        self.usesRankStabilization = usesRankStabilization
    }

    fileprivate func validate() throws(MoruError) {
        func require(_ condition: Bool, _ message: String, _ remedy: String) throws(MoruError) {
            if !condition { throw MoruError(.adapterMismatch, "adapter: \(message)", remedy: remedy) }
        }
        try require(1...65_536 ~= rank, "rank \(rank) is out of range", "use 1 to 65536, 8 is usual")
        try require(alpha.isFinite, "alpha \(alpha) is not finite", "twice the rank is usual")
        try require(0..<1 ~= dropout, "dropout \(dropout) is out of range", "use 0 to below 1")
        try require(!targets.isEmpty, "no layer is to be adapted", "name some, such as q_proj and v_proj")
    }

    /// What the update is multiplied by.
    public var scale: Float {
        usesRankStabilization ? alpha / Float(rank).squareRoot() : alpha / Float(rank)
    }
}

/// A low-rank update of one layer: `y + scale * (x A^T) B^T`.
public struct LoRAPair: Sendable {
    /// [rank, inputs].
    public let a: Parameter
    /// [outputs, rank].
    public let b: Parameter
    /// What the update is multiplied by.
    public let scale: Float
    /// The probability with which an input feature is dropped in training.
    public let dropout: Float

    /// Makes a pair.
    public init(a: Parameter, b: Parameter, scale: Float, dropout: Float = 0) {
        self.a = a
        self.b = b
        self.scale = scale
        self.dropout = dropout
    }

    func apply(to x: Tensor, adding y: Tensor, _ context: LayerContext) -> Tensor {
        let input = context.dropout.map { $0.apply(x, probability: dropout) } ?? x
        return input.linear(a.tensor).linear(b.tensor, alpha: scale, adding: y)
    }
}

/// Low-rank adaptation (Hu et al., 2021): small updates of some of a model's linear layers, applied beside the frozen
/// weights.
public final class LoRAAdapter: Sendable {
    /// The adapter's shape.
    public let configuration: LoRAConfiguration
    /// The updates, by the path of the layer that each adapts.
    public let pairs: [String: LoRAPair]

    /// Makes an adapter of given updates.
    public init(configuration: LoRAConfiguration, pairs: [String: LoRAPair]) {
        self.configuration = configuration
        self.pairs = pairs
    }

    /// A fresh adapter, which changes nothing until trained: A is random, B is zero.
    ///
    /// - Throws: ``MoruError/Code/adapterMismatch`` when a target names no layer, there is none, or a number of the
    ///   configuration is out of range.
    public convenience init(
        _ configuration: LoRAConfiguration, adapting layers: [Linear], seed: UInt64
    ) throws(MoruError) {
        try configuration.validate()
        var pairs: [String: LoRAPair] = [:]
        var unmatched = Set(configuration.targets)
        for layer in layers {
            let targets = configuration.targets.filter { layer.matches($0) }
            guard !targets.isEmpty else { continue }
            unmatched.subtract(targets)
            var generator = RandomGenerator(seed: seed ^ stableHash(layer.path))
            // Kaiming-uniform with slope sqrt(5), as PEFT initialises A
            let bound = 1 / Float(layer.inputs).squareRoot()
            pairs[layer.path] = LoRAPair(
                a: Parameter(
                    "\(layer.path).lora_A.weight",
                    .uniform([configuration.rank, layer.inputs], bound: bound, using: &generator)),
                b: Parameter("\(layer.path).lora_B.weight", .zeros([layer.outputs, configuration.rank])),
                scale: configuration.scale, dropout: configuration.dropout)
        }
        if let target = unmatched.min() {
            let names = Set(layers.compactMap { $0.path.split(separator: ".").last.map(String.init) })
            let nearest = nearestName(to: target, among: names).map { "; did you mean \($0)?" } ?? ""
            throw MoruError(
                .adapterMismatch, "no layer of the model is called \(target)",
                remedy: "choose from \(names.sorted().joined(separator: ", "))\(nearest)")
        }
        self.init(configuration: configuration, pairs: pairs)
    }

    /// The parameters, in a fixed order.
    public var parameters: [Parameter] {
        pairs.sorted { $0.key < $1.key }.flatMap { [$0.value.a, $0.value.b] }
    }

    /// The number of trainable numbers.
    public var parameterCount: Int { parameters.reduce(0) { $0 + $1.value.count } }
}

extension Linear {
    /// Whether a target such as `q_proj` or `layers.0.q_proj` names this layer: its path, or a suffix of it at a dot.
    package func matches(_ target: String) -> Bool { path == target || path.hasSuffix("." + target) }
}
