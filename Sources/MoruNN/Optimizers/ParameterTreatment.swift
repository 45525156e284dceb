import MoruTensor

/// How an optimizer treats one parameter, besides the settings that hold for all.
public struct ParameterTreatment: Sendable, Hashable {
    /// What the learning rate is multiplied by.
    public var rateFactor: Float
    /// Whether weight decay applies.
    public var decays: Bool
    /// Whether the parameter is a table of vectors (an embedding, an output head, a soft prompt), not a linear map.
    public var isTable: Bool

    /// Makes a treatment.
    public init(rateFactor: Float = 1, decays: Bool = true, isTable: Bool = false) {
        self.rateFactor = rateFactor
        self.decays = decays
        self.isTable = isTable
    }

    /// The usual treatment: matrices decay, vectors (norms, biases) do not.
    public static func usual(_ parameters: [Parameter]) -> [ParameterTreatment] {
        OptimizerSettings().treatments(of: parameters)
    }
}

extension OptimizerSettings {
    /// How each parameter is treated under these settings, told by its name and rank.
    public func treatments(of parameters: [Parameter]) -> [ParameterTreatment] {
        let depths = parameters.map { LayerDepth($0.path) }
        let layers = (depths.compactMap(\.number).max() ?? -1) + 1
        return zip(parameters, depths).map { parameter, depth in
            let isVector = parameter.value.rank < 2
            let isTable = !isVector && depth.isTable
            return ParameterTreatment(
                rateFactor: pow(layerDecay, layers - depth.level(of: layers)),
                decays: isVector ? decaysVectors : isTable ? decaysEmbeddings : true, isTable: isTable)
        }
    }

    private func pow(_ base: Float, _ exponent: Int) -> Float {
        (0..<exponent).reduce(1) { factor, _ in factor * base }
    }
}

/// Where a parameter lies between a network's input and its output, told by the names that checkpoints use.
private struct LayerDepth {
    private static let lists = ["layers", "layer", "h", "blk", "blocks"]
    private static let inputs = [
        "embed_tokens", "wte", "wpe", "token_embd", "embeddings", "embedding", "prompt_embeddings",
    ]
    private static let outputs = ["lm_head", "output", "head"]

    /// The layer's number; nil outside the layers.
    let number: Int?
    private let isInput: Bool
    private let isOutput: Bool

    init(_ path: String) {
        let names = path.split(separator: ".").map(String.init)
        let list = names.firstIndex { Self.lists.contains($0) }
        number = list.flatMap { $0 + 1 < names.count ? Int(names[$0 + 1]) : nil }
        let isInside = number != nil
        isInput = !isInside && names.contains { Self.inputs.contains($0) }
        isOutput = !isInside && names.contains { Self.outputs.contains($0) }
    }

    var isTable: Bool { isInput || isOutput }

    /// 0 for the input, 1 for the first layer, and as many as there are layers for the last one and all after it.
    func level(of layers: Int) -> Int { number.map { $0 + 1 } ?? (isInput ? 0 : layers) }
}
