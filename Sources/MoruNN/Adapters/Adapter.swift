import MoruBase
import MoruTensor

/// A small set of parameters, trained beside a frozen model, that changes what the model computes.
///
/// An adapter acts in two places: on linear layers (``layers``), and before a sequence (``virtualTokens``). A batch
/// carries an adapter for each of its segments, so that one forward pass serves many.
public protocol Adapter: AnyObject, Sendable {
    /// The parameters, in a fixed order, named as in PEFT's files without their prefix.
    var parameters: [Parameter] { get }
    /// The changes to linear layers, by the path of each layer.
    var layers: [String: LayerAdaptation] { get }
    /// The virtual tokens in front of every sequence; nil for none.
    var virtualTokens: VirtualTokens? { get }
    /// Whether inputs are dropped out in training.
    var usesDropout: Bool { get }
    /// The contents of PEFT's `adapter_config.json`, except the base model's name.
    var peftConfiguration: JSONObject { get }
}

extension Adapter {
    /// The number of trainable parameters.
    public var parameterCount: Int { parameters.reduce(0) { $0 + $1.value.count } }
    /// The number of context positions that the adapter occupies.
    public var virtualTokenCount: Int { virtualTokens?.count ?? 0 }
    /// Nothing.
    public var layers: [String: LayerAdaptation] { [:] }
    /// Nothing.
    public var virtualTokens: VirtualTokens? { nil }
    /// No.
    public var usesDropout: Bool { false }
}

/// How an adapter changes one linear layer.
public enum LayerAdaptation: Sendable {
    /// Adds the product of two small matrices to the weight.
    case lowRank(LoRAPair)
    /// Multiplies the input features by a vector [1, inputs].
    case inputScale(Parameter)
    /// Multiplies the output features, including the bias, by a vector [outputs, 1].
    case outputScale(Parameter)

    /// The layer's output for `x` [N, inputs], given the product of `x` and its weight.
    func complete(_ product: Tensor, of x: Tensor, _ layer: Linear, _ context: LayerContext) -> Tensor {
        switch self {
        case .lowRank(let pair):
            return layer.addingBias(pair.apply(to: x, adding: product, layer, context))
        case .inputScale(let scale):
            // That product was of the input as it is, for other rows of the batch or other layers of a group
            return layer.addingBias(x.multiplyingRow(scale.tensor.reshaped(layer.inputs)).linear(layer.weight.tensor))
        case .outputScale(let scale):
            return layer.addingBias(product).multiplyingRow(scale.tensor.reshaped(layer.outputs))
        }
    }

    /// The parameters, and the shapes that a layer requires of them.
    package func shapes(in layer: Linear) -> [(parameter: Parameter, shape: [Int])] {
        switch self {
        case .lowRank(let pair):
            let rank = pair.a.value.shape.first ?? 0
            let matrices = [(pair.a, [rank, layer.inputs]), (pair.b, [layer.outputs, rank])]
            return matrices + (pair.magnitude.map { [($0, [layer.outputs])] } ?? [])
        case .inputScale(let scale): return [(scale, [1, layer.inputs])]
        case .outputScale(let scale): return [(scale, [layer.outputs, 1])]
        }
    }
}

/// What an adapter puts in front of every sequence. Each virtual token occupies a position of the context.
public enum VirtualTokens: Sendable {
    /// Vectors [tokens, D] in place of the embeddings of tokens.
    case embeddings(Parameter)
    /// Keys (with rotary embedding applied) and values of every layer, as PEFT lays them out:
    /// [tokens, layers * 2 * kvHeads * headDim], a layer's keys before its values.
    case keysAndValues(Parameter)

    /// What virtual tokens are.
    package enum Kind: Sendable, Hashable { case embeddings, keysAndValues }

    /// What they are.
    package var kind: Kind {
        switch self {
        case .embeddings: .embeddings
        case .keysAndValues: .keysAndValues
        }
    }

    /// The numbers.
    public var parameter: Parameter {
        switch self {
        case .embeddings(let parameter), .keysAndValues(let parameter): parameter
        }
    }

    /// How many tokens they stand for.
    public var count: Int { parameter.value.shape[0] }
}

/// Refuses a configuration that makes no sense.
func requireAdapter(_ condition: Bool, _ message: String, _ remedy: String) throws(MoruError) {
    if !condition { throw MoruError(.adapterMismatch, "adapter: \(message)", remedy: remedy) }
}

extension Linear {
    /// Whether a target such as `q_proj` or `layers.0.q_proj` names this layer: its path, or a suffix of it at a dot.
    package func matches(_ target: String) -> Bool { path == target || path.hasSuffix("." + target) }
}

extension [Linear] {
    /// The layers that some targets name.
    ///
    /// - Throws: ``MoruError/Code/adapterMismatch`` when a target names none.
    func named(_ targets: [String]) throws(MoruError) -> [Linear] {
        if let target = targets.sorted().first(where: { target in !contains { $0.matches(target) } }) {
            let names = Set(compactMap { $0.path.split(separator: ".").last.map(String.init) })
            let nearest = nearestName(to: target, among: names).map { "; did you mean \($0)?" } ?? ""
            throw MoruError(
                .adapterMismatch, "no layer of the model is called \(target)",
                remedy: "choose from \(names.sorted().joined(separator: ", "))\(nearest)")
        }
        return filter { layer in targets.contains { layer.matches($0) } }
    }
}
