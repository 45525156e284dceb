import MoruBase
import MoruModels
import MoruNN
import MoruTensor

/// How a model is tuned: which parameters move, and what shape new ones have.
public enum TuningMethod: Sendable, Hashable {
    /// Low-rank adaptation; with ``LoRAConfiguration/usesRankStabilization`` rsLoRA, with
    /// ``LoRAConfiguration/decomposesWeights`` DoRA, and on a quantised base QLoRA.
    case lora(LoRAConfiguration)
    /// Learnt scales of keys, values and inner activations.
    case ia3(IA3Configuration)
    /// Learnt vectors before every sequence.
    case prompt(VirtualTokenSettings)
    /// Learnt keys and values before every sequence.
    case prefix(VirtualTokenSettings)
    /// Every parameter.
    case full(savedAs: DType? = nil)
    /// The last layers, and the output projection if wanted.
    case lastLayers(Int, includesHead: Bool = false, savedAs: DType? = nil)

    /// The method for a model, and the adapter that acts on its examples if it has one.
    ///
    /// - Parameters:
    ///   - baseModel: The model's name, which adapters note.
    ///   - seed: Decides how new parameters begin.
    /// - Throws: ``MoruError/Code/adapterMismatch``, ``MoruError/Code/adapterUnsupported`` or
    ///   ``MoruError/Code/methodUnsupported`` when the model does not allow the method.
    public func make(
        for model: PretrainedModel, baseModel: String, seed: UInt64
    ) throws(MoruError) -> (method: any TrainingMethod, adapter: (any Adapter)?) {
        let adapter: any Adapter
        switch self {
        case .lora(let configuration):
            adapter = try LoRAAdapter(configuration, adapting: model.model.linears, seed: seed)
        case .ia3(let configuration): adapter = try IA3Adapter(configuration, adapting: model.model.linears)
        case .prompt(let settings):
            adapter = try PromptTuningAdapter(tokens: settings.count, start: settings.start, for: model, seed: seed)
        case .prefix(let settings):
            adapter = try PrefixTuningAdapter(tokens: settings.count, start: settings.start, for: model, seed: seed)
        case .full(let dtype): return (try FullMethod(model, savingAs: dtype), nil)
        case .lastLayers(let count, let includesHead, let dtype):
            return (try LastLayersMethod(model, count: count, includesHead: includesHead, savingAs: dtype), nil)
        }
        return (AdapterMethod(adapter: adapter, baseModel: baseModel), adapter)
    }
}

/// How many virtual tokens, and how they begin.
public struct VirtualTokenSettings: Sendable, Hashable {
    /// How many; each takes a position of the context.
    public var count: Int
    /// How they begin.
    public var start: VirtualTokenStart

    /// Makes settings.
    public init(count: Int = 20, start: VirtualTokenStart = .random) {
        self.count = count
        self.start = start
    }
}
