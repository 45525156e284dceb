import MoruBase
import MoruTensor

/// Prompt tuning (Lester et al., 2021): a few learnt vectors stand before every sequence, in place of the embeddings of
/// tokens.
public final class PromptTuningAdapter: Adapter {
    /// The vectors [tokens, D].
    public let embeddings: Parameter

    /// An adapter that begins with some vectors [tokens, D].
    public init(_ embeddings: Tensor) { self.embeddings = Parameter(VirtualTokens.parameterName, embeddings) }

    /// The vectors.
    public var parameters: [Parameter] { [embeddings] }
    /// The vectors.
    public var virtualTokens: VirtualTokens? { .embeddings(embeddings) }

    /// What `adapter_config.json` says.
    public var peftConfiguration: JSONObject {
        JSONObject([
            ("peft_type", "PROMPT_TUNING"), ("prompt_tuning_init", "RANDOM"),
            ("num_virtual_tokens", .int(embeddings.value.shape[0])), ("token_dim", .int(embeddings.value.shape[1])),
            ("num_transformer_submodules", 1),
        ])
    }
}

/// Prefix tuning (Li and Liang, 2021): learnt keys and values stand before every sequence, in every layer.
public final class PrefixTuningAdapter: Adapter {
    /// Keys and values [tokens, layers * 2 * kvHeads * headDim]; see ``VirtualTokens/keysAndValues(_:)``.
    public let keysAndValues: Parameter
    /// Layers.
    public let layerCount: Int
    /// Heads of keys and values.
    public let kvHeads: Int

    /// An adapter that begins with some keys and values [tokens, layers * 2 * kvHeads * headDim].
    public init(_ keysAndValues: Tensor, layerCount: Int, kvHeads: Int) {
        precondition(
            keysAndValues.rank == 2 && keysAndValues.shape[1] % (layerCount * 2 * kvHeads) == 0,
            "a prefix of \(keysAndValues.shape) does not fit \(layerCount) layers of \(kvHeads) heads")
        self.keysAndValues = Parameter(VirtualTokens.parameterName, keysAndValues)
        self.layerCount = layerCount
        self.kvHeads = kvHeads
    }

    /// The keys and values.
    public var parameters: [Parameter] { [keysAndValues] }
    /// The keys and values.
    public var virtualTokens: VirtualTokens? { .keysAndValues(keysAndValues) }

    /// What `adapter_config.json` says; with grouped queries PEFT counts the heads of keys and values.
    public var peftConfiguration: JSONObject {
        let (tokens, elements) = (keysAndValues.value.shape[0], keysAndValues.value.shape[1])
        return JSONObject([
            ("peft_type", "PREFIX_TUNING"), ("num_virtual_tokens", .int(tokens)),
            ("token_dim", .int(elements / (layerCount * 2))), ("num_layers", .int(layerCount)),
            ("num_attention_heads", .int(kvHeads)), ("num_transformer_submodules", 1),
            ("encoder_hidden_size", .int(elements / (layerCount * 2))), ("prefix_projection", false),
        ])
    }
}

extension VirtualTokens {
    /// What PEFT's files call them.
    package static let parameterName = "prompt_embeddings"

    /// One layer's keys and values [tokens, kvHeads, headDim] of a prefix; nil of vectors.
    package func prefix(layer: Int, kvHeads: Int, headDim: Int) -> (keys: Tensor, values: Tensor)? {
        guard case .keysAndValues(let parameter) = self else { return nil }
        let tensor = parameter.tensor
        let (tokens, elements) = (tensor.shape[0], kvHeads * headDim)
        let parts = tensor.shape[1] / elements
        // A token's keys and values of all layers are a row each
        let rows = tensor.reshaped(tokens * parts, elements)
        func part(_ index: Int) -> Tensor {
            rows.gatheringRows((0..<tokens).map { $0 * parts + index }).reshaped(tokens, kvHeads, headDim)
        }
        return (part(2 * layer), part(2 * layer + 1))
    }
}
