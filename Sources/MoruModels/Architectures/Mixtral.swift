// Mixtral 8x7B and 8x22B (Jiang et al., 2024): the blocks of Mistral, each with a mixture of experts in place of its
// feed-forward. The weights of a token's experts are their softmax over all experts, divided by their sum. Parameter
// names are those of Hugging Face checkpoints, `model.layers.0.block_sparse_moe.experts.0.w1.weight`.

import MoruBase
import MoruTensor

extension ExpertLayout {
    static let mixtral = ExpertLayout(
        place: "block_sparse_moe", gate: "w1", up: "w3", down: "w2",
        read: { reader, layerCount throws(MoruError) in
            if try reader.number("router_jitter_noise", default: 0) != 0 {
                throw reader.unsupported(
                    "router_jitter_noise", remedy: "set it to 0: it adds noise in training and changes nothing else")
            }
            let routing = RoutingOptions(
                expertsPerToken: try reader.size("num_experts_per_tok", default: 2), normalizesWeights: true)
            return try reader.experts(
                count: reader.size("num_local_experts", default: 8),
                intermediateSize: reader.size("intermediate_size"), routing: routing,
                layers: Array(repeating: true, count: layerCount))
        },
        write: { experts, result in
            result["num_local_experts"] = .int(experts.count)
            result["num_experts_per_tok"] = .int(experts.routing.expertsPerToken)
        })
}
