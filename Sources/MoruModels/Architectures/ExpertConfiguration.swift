import MoruBase
import MoruNN
import MoruTensor

/// The mixtures of experts in a decoder: how many experts a layer has, how large they are, and how tokens are sent to
/// them.
public struct ExpertConfiguration: Sendable, Hashable {
    /// Experts of a layer.
    public var count: Int
    /// Elements between an expert's two projections.
    public var intermediateSize: Int
    /// How the routers choose.
    public var routing: RoutingOptions
    /// Whether each layer has experts; the others have a feed-forward of their own.
    public var layers: [Bool]
    /// What the load-balancing loss is multiplied by in training.
    public var lossWeight: Double
    /// Whether training adds that loss; transformers' `output_router_logits`.
    public var usesLoss: Bool

    init(
        count: Int, intermediateSize: Int, routing: RoutingOptions, layers: [Bool], lossWeight: Double = 0.001,
        usesLoss: Bool = false, source: String
    ) throws(MoruError) {
        (self.count, self.intermediateSize, self.routing) = (count, intermediateSize, routing)
        (self.layers, self.lossWeight, self.usesLoss) = (layers, lossWeight, usesLoss)
        func require(_ condition: Bool, _ message: String) throws(MoruError) {
            if condition { return }
            throw MoruError(
                .modelConfiguration, "\(source): \(message)", remedy: "restore the file that came with the model")
        }
        try require(count <= 1 << 16, "\(count) experts of a layer are absurd")
        try require(
            routing.expertsPerToken <= count, "\(routing.expertsPerToken) experts a token are more than the \(count)")
    }

    /// What training adds to its loss; nil for nothing.
    var routerLoss: RouterLoss? {
        usesLoss && lossWeight != 0 ? RouterLoss(weight: Float(lossWeight), options: routing) : nil
    }
}

/// How the checkpoints of an architecture call its experts and describe them.
struct ExpertLayout: Sendable {
    /// The place of the mixture in a block, which takes the feed-forward's.
    let place: String
    /// The layers of an expert.
    let gate, up, down: String
    /// Reads `config.json`.
    let read: @Sendable (ConfigurationReader, _ layerCount: Int) throws(MoruError) -> ExpertConfiguration
    /// Writes `config.json`.
    let write: @Sendable (ExpertConfiguration, inout JSONObject) -> Void

    /// The mixture of a block.
    func mixture(
        _ block: Weights, _ configuration: ExpertConfiguration, dim: Int
    ) throws(MoruError) -> MixtureOfExperts {
        let (weights, inner) = (block[place], configuration.intermediateSize)
        var (gates, ups, downs): ([Linear], [Linear], [Linear]) = ([], [], [])
        for index in 0..<configuration.count {
            let expert = weights["experts"][index]
            gates.append(try expert.linear(gate, inputs: dim, outputs: inner))
            ups.append(try expert.linear(up, inputs: dim, outputs: inner))
            downs.append(try expert.linear(down, inputs: inner, outputs: dim))
        }
        return MixtureOfExperts(
            router: try weights["gate"].parameter("weight", [configuration.count, dim]), gate: gates, up: ups,
            down: downs, options: configuration.routing)
    }
}

extension ConfigurationReader {
    /// What the architectures call alike.
    func experts(
        count: Int, intermediateSize: Int, routing: RoutingOptions, layers: [Bool]
    ) throws(MoruError) -> ExpertConfiguration {
        try ExpertConfiguration(
            count: count, intermediateSize: intermediateSize, routing: routing, layers: layers,
            lossWeight: number("router_aux_loss_coef", default: 0.001),
            usesLoss: flag("output_router_logits", default: false), source: source)
    }
}
