// Qwen3-MoE, such as Qwen3-30B-A3B (Yang et al., 2025): the blocks of Qwen 3, with a mixture of many small experts in
// place of the feed-forward of some or all of them. Parameter names are those of Hugging Face checkpoints,
// `model.layers.0.mlp.experts.0.gate_proj.weight`.

import MoruBase
import MoruTensor

extension ExpertLayout {
    static let qwen3MoE = ExpertLayout(
        place: "mlp", gate: "gate_proj", up: "up_proj", down: "down_proj",
        read: { reader, layerCount throws(MoruError) in
            let routing = RoutingOptions(
                expertsPerToken: try reader.size("num_experts_per_tok", default: 8),
                normalizesWeights: try reader.flag("norm_topk_prob", default: false))
            // Newer versions of transformers write the key that Mixtral has
            let count = try reader.size(
                reader.json["num_experts"] == nil ? "num_local_experts" : "num_experts", default: 128)
            return try reader.experts(
                count: count, intermediateSize: reader.size("moe_intermediate_size", default: 768), routing: routing,
                layers: reader.sparseLayers(layerCount))
        },
        write: { experts, result in
            result["num_local_experts"] = nil
            result["num_experts"] = .int(experts.count)
            result["num_experts_per_tok"] = .int(experts.routing.expertsPerToken)
            result["moe_intermediate_size"] = .int(experts.intermediateSize)
            result["norm_topk_prob"] = .bool(experts.routing.normalizesWeights)
            result["decoder_sparse_step"] = 1
            let dense = experts.layers.indices.filter { !experts.layers[$0] }
            result["mlp_only_layers"] = .array(dense.map { .int($0) })
        })
}

extension ConfigurationReader {
    /// Whether each layer has experts: every `decoder_sparse_step`-th, without those of `mlp_only_layers`.
    fileprivate func sparseLayers(_ layerCount: Int) throws(MoruError) -> [Bool] {
        let step = try size("decoder_sparse_step", default: 1)
        var layers = (1...layerCount).map { $0 % step == 0 }
        guard let value = json["mlp_only_layers"] else { return layers }
        guard let numbers = value.array?.map(\.int) else {
            throw unexpected("mlp_only_layers", value, "a list of layers")
        }
        for number in numbers {
            guard let number, number >= 0 else { throw unexpected("mlp_only_layers", value, "a list of layers") }
            if number < layerCount { layers[number] = false }
        }
        return layers
    }
}
