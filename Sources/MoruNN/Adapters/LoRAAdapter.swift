import MoruBase
import MoruTensor
import Synchronization

/// What shape a low-rank adapter has.
public struct LoRAConfiguration: Sendable, Hashable {
    /// The rank of the update.
    public var rank: Int
    /// The update is scaled by `alpha / rank`, or by `alpha / sqrt(rank)` when rank-stabilised.
    public var alpha: Float
    /// The probability with which an input feature is dropped in training.
    public var dropout: Float
    /// The last path components of the layers that are adapted, such as `q_proj`, or a ``LayerGroup``.
    public var targets: [String]
    /// Whether the scale is rank-stabilised (Kalajdzievski, 2023).
    public var usesRankStabilization: Bool
    /// Whether each output's weight is decomposed into a direction, which the update moves, and a magnitude, which is
    /// learnt beside it (DoRA, Liu et al., 2024).
    public var decomposesWeights: Bool

    /// Makes a configuration.
    public init(
        rank: Int = 8, alpha: Float = 16, dropout: Float = 0,
        targets: [String] = [LayerGroup.auto], usesRankStabilization: Bool = false,
        decomposesWeights: Bool = false
    ) {
        self.rank = rank
        self.alpha = alpha
        self.dropout = dropout
        self.targets = targets
        self.usesRankStabilization = usesRankStabilization
        self.decomposesWeights = decomposesWeights
    }

    fileprivate func validate() throws(MoruError) {
        try requireAdapter(1...65_536 ~= rank, "rank \(rank) is out of range", "use 1 to 65536, 8 is usual")
        try requireAdapter(alpha.isFinite, "alpha \(alpha) is not finite", "twice the rank is usual")
        try requireAdapter(0..<1 ~= dropout, "dropout \(dropout) is out of range", "use 0 to below 1")
        try requireAdapter(!targets.isEmpty, "no layer is named to be adapted", "name some, such as q_proj and v_proj")
    }

    /// What the update is multiplied by.
    public var scale: Float {
        usesRankStabilization ? alpha / Float(rank).squareRoot() : alpha / Float(rank)
    }
}

/// Low-rank adaptation (Hu et al., 2021), with the magnitudes of DoRA where they are asked for: small updates of some
/// of a model's linear layers, applied beside the frozen weights.
public final class LoRAAdapter: Adapter {
    /// The adapter's shape.
    public let configuration: LoRAConfiguration
    /// The updates, by the path of the layer that each adapts.
    public let pairs: [String: LoRAPair]
    /// The updates.
    public let layers: [String: LayerAdaptation]
    private let pairsByKey: [LayerKey: LoRAPair]
    /// Whether the updates are all that it does: none has magnitudes.
    let isPlain: Bool
    private let prepared = Mutex<[PreparedUpdates]>([])

    /// Makes an adapter of given updates.
    public init(configuration: LoRAConfiguration, pairs: [String: LoRAPair]) {
        self.configuration = configuration
        self.pairs = pairs
        pairsByKey = Dictionary(uniqueKeysWithValues: pairs.map { (LayerKey($0), $1) })
        layers = pairs.mapValues { .lowRank($0) }
        isPlain = pairs.values.allSatisfy { $0.magnitude == nil }
    }

    /// A fresh adapter, which changes nothing until trained: A is random, B is zero, and magnitudes are those of the
    /// weights. Its configuration has the targets by the model's own names.
    ///
    /// - Throws: ``MoruError/Code/adapterMismatch`` when a target names no layer, there is none, or a number of the
    ///   configuration is out of range.
    public convenience init(
        _ configuration: LoRAConfiguration, adapting layers: [Linear], seed: UInt64
    ) throws(MoruError) {
        try configuration.validate()
        var configuration = configuration
        configuration.targets = LayerGroup.lowRankTargets(configuration.targets, of: layers)
        var pairs: [String: LoRAPair] = [:]
        for layer in try layers.named(configuration.targets) {
            var generator = RandomGenerator(seed: seed ^ stableHash(layer.path))
            // Kaiming-uniform with slope sqrt(5), as PEFT initialises A
            let bound = 1 / Float(layer.inputs).squareRoot()
            pairs[layer.path] = LoRAPair(
                a: Parameter(
                    "\(layer.path).lora_A.weight",
                    .uniform([configuration.rank, layer.inputs], bound: bound, using: &generator)),
                b: Parameter("\(layer.path).lora_B.weight", .zeros([layer.outputs, configuration.rank])),
                magnitude: configuration.decomposesWeights
                    ? Parameter(LoRAPair.magnitudeName(layer.path), layer.weight.value.rowNorms()) : nil,
                scale: configuration.scale, dropout: configuration.dropout)
        }
        self.init(configuration: configuration, pairs: pairs)
    }

    /// The updates of a model's layers as products of few rows read them, in the order of the layers.
    ///
    /// They are kept for the next step, and looked for again when the model is another one, any parameter has got
    /// another value, or products have another precision.
    func updates(of layers: [Linear]) -> LowRankUpdates {
        let (revision, precision) = (Parameter.revision, Runtime.shared.precision)
        return prepared.withLock { prepared in
            if let known = prepared.first(where: { $0.model === layers.first }), known.revision == revision,
                known.precision == precision
            {
                return known.updates
            }
            let updates = LowRankUpdates(layers.map { pairsByKey[$0.key]?.factors(for: $0) })
            prepared.removeAll { $0.model == nil || $0.model === layers.first }
            prepared.append(
                PreparedUpdates(model: layers.first, revision: revision, precision: precision, updates: updates))
            return updates
        }
    }

    /// The parameters, in a fixed order.
    public var parameters: [Parameter] { pairs.sorted { $0.key < $1.key }.flatMap(\.value.parameters) }

    /// Whether inputs are dropped out in training.
    public var usesDropout: Bool { configuration.dropout > 0 }

    /// What `adapter_config.json` says.
    public var peftConfiguration: JSONObject {
        let alpha = Double(configuration.alpha)
        return JSONObject([
            ("peft_type", "LORA"), ("r", .int(configuration.rank)),
            ("lora_alpha", Int(exactly: alpha).map { .int($0) } ?? .double(alpha)),
            ("lora_dropout", .double(Double(configuration.dropout))),
            ("target_modules", .array(configuration.targets.map { .string($0) })), ("bias", "none"),
            ("fan_in_fan_out", false), ("use_rslora", .bool(configuration.usesRankStabilization)),
            ("use_dora", .bool(configuration.decomposesWeights)), ("init_lora_weights", true),
        ])
    }
}

/// An adapter's updates of the layers of a model, which is known by the first of them.
private struct PreparedUpdates {
    weak var model: Linear?
    let revision: Int
    let precision: Precision
    let updates: LowRankUpdates
}
