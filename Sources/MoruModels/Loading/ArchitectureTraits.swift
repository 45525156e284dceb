import MoruBase
import MoruTensor

/// How architectures of language models differ, as far as their configurations say it.
enum ArchitectureFeature: Int, CaseIterable, Comparable, Sendable {
    // In the order in which differences are told
    case kind, experts, positions, norm, normPlace, residual, gating, activation, rotaryShare, keyNorm, kvHeads, softcap
    case logitScale, window

    static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }

    /// How much a difference separates two architectures.
    var weight: Int {
        switch self {
        case .kind: 8
        case .experts, .positions: 4
        case .norm, .normPlace, .residual, .gating: 3
        case .activation, .rotaryShare, .keyNorm, .kvHeads, .softcap: 2
        case .logitScale, .window: 1
        }
    }

    /// The values, each with what an architecture of it does.
    var phrases: [String: String] {
        switch self {
        case .kind:
            [
                "attention": "attends to keys and values of every head", "latent": "compresses keys and values (MLA)",
                "state": "carries the state of a state-space model or linear attention",
                "recurrent": "carries the state of an LSTM or GRU",
                "encoder-decoder": "has a separate encoder",
                "multimodal": "reads more than text",
            ]
        case .experts: ["one": "has one feed-forward in a layer", "many": "routes tokens to experts"]
        case .positions:
            [
                "rotary": "turns queries and keys by their positions", "learned": "adds learned positions",
                "alibi": "lowers scores with the distance (ALiBi)", "none": "has no positions",
            ]
        case .norm:
            [
                "rms": "normalises by the root mean square", "layer": "normalises by mean and variance",
                "bare": "normalises without weights",
            ]
        case .normPlace:
            [
                "before": "normalises before attention and feed-forward",
                "after": "normalises after attention and feed-forward",
                "both": "normalises before and after attention and feed-forward",
            ]
        case .residual:
            [
                "serial": "lets the feed-forward follow attention",
                "parallel": "computes both halves of a layer side by side",
            ]
        case .gating: ["gated": "has a gated feed-forward", "plain": "has a feed-forward without a gate"]
        case .activation: ["silu": "activates with silu", "gelu": "activates with gelu"]
        case .rotaryShare: ["whole": "turns whole heads", "part": "turns a part of each head"]
        case .keyNorm: ["no": "leaves queries and keys as they are", "yes": "normalises queries and keys"]
        case .kvHeads: ["each": "has keys and values for each head", "shared": "shares keys and values between heads"]
        case .softcap: ["no": "does not cap logits or scores", "yes": "caps logits or scores"]
        case .logitScale: ["no": "does not scale logits", "yes": "scales logits"]
        case .window: ["no": "sees the whole context", "yes": "has sliding windows"]
        }
    }
}

/// What a configuration says of an architecture.
struct ArchitectureTraits: Sendable {
    /// A feature's value, and the key that says so; nil where it is known of the architecture.
    struct Trait: Sendable, Hashable {
        var value: String
        var key: String?
    }

    private(set) var traits: [ArchitectureFeature: Trait] = [:]

    /// Reads what the keys of a `config.json` tell, and adds what is known of the type and no key tells.
    init(_ whole: JSON, type: String) {
        var config = whole
        if let text = whole["text_config"], text.object != nil {
            config = text
            set(.kind, "multimodal", "text_config")
        }
        for (feature, value) in Self.unsaid[type] ?? [:] { traits[feature] = Trait(value: value) }
        readKind(config)
        readPositions(config)
        readLayer(config)
        readHeads(config)
    }

    private mutating func set(_ feature: ArchitectureFeature, _ value: String, _ key: String?) {
        if traits[feature] == nil { traits[feature] = Trait(value: value, key: key) }
    }

    private static func first(_ keys: [String], in config: JSON) -> (key: String, value: JSON)? {
        keys.lazy.compactMap { key in config[key].map { (key, $0) } }.first
    }

    private static func isSet(_ value: JSON?) -> Bool {
        guard let value else { return false }
        return value.bool ?? (value.double.map { $0 != 0 } ?? true)
    }

    private mutating func readKind(_ config: JSON) {
        if let key = ["kv_lora_rank", "q_lora_rank"].first(where: { config[$0] != nil }) { set(.kind, "latent", key) }
        let states = [
            "state_size", "ssm_cfg", "mamba_d_state", "ssm_state_size", "linear_num_key_heads", "attention_hidden_size",
            "lru_width",
        ]
        if let key = states.first(where: { config[$0] != nil }) { set(.kind, "state", key) }
        if config["is_encoder_decoder"]?.bool == true { set(.kind, "encoder-decoder", "is_encoder_decoder") }
        if let key = ["vision_config", "audio_config"].first(where: { config[$0] != nil }) {
            set(.kind, "multimodal", key)
        }
        set(.kind, "attention", nil)
        let counts = ["num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"]
        if let found = Self.first(counts, in: config), found.value.int ?? 0 > 1 { set(.experts, "many", found.key) }
        set(.experts, "one", nil)
    }

    private mutating func readPositions(_ config: JSON) {
        if config["alibi"]?.bool == true { set(.positions, "alibi", "alibi") }
        if config["attn_config"]?["alibi"]?.bool == true { set(.positions, "alibi", "attn_config.alibi") }
        let rotary = [
            "rope_theta", "rope_parameters", "rope_scaling", "rotary_emb_base", "partial_rotary_factor", "rotary_pct",
            "rotary_dim", "alibi",
        ]
        if let key = rotary.first(where: { config[$0] != nil }) { set(.positions, "rotary", key) }
        if let key = ["n_positions", "n_ctx"].first(where: { config[$0] != nil }) { set(.positions, "learned", key) }
        guard traits[.positions]?.value == "rotary" else { return }
        let shares = ["partial_rotary_factor", "rotary_pct", "rope_pct"]
        let share =
            Self.first(shares, in: config)
            ?? config["rope_parameters"]?["partial_rotary_factor"].map { ("partial_rotary_factor", $0) }
        if let share { set(.rotaryShare, share.1.double == 1 ? "whole" : "part", share.0) }
        if config["rotary_dim"] != nil { set(.rotaryShare, "part", "rotary_dim") }
        set(.rotaryShare, "whole", nil)
    }

    private mutating func readLayer(_ config: JSON) {
        if let found = Self.first(["rms_norm_eps", "rms_norm_epsilon"], in: config) { set(.norm, "rms", found.key) }
        let layers = ["layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "norm_eps"]
        if let found = Self.first(layers, in: config) { set(.norm, "layer", found.key) }
        set(.normPlace, "before", nil)
        let parallel = ["use_parallel_residual", "parallel_attn", "parallel_residual", "parallel_block"]
        if let key = parallel.first(where: { config[$0]?.bool == true }) { set(.residual, "parallel", key) }
        set(.residual, "serial", nil)
        let names = ["hidden_act", "hidden_activation", "activation_function", "activation", "afn"]
        if let found = Self.first(names, in: config), let name = found.value.string {
            let isSilu = ["silu", "swish", "swiglu"].contains(name)
            set(.activation, isSilu ? "silu" : name.hasPrefix("gelu") ? "gelu" : name, found.key)
            set(.gating, isSilu ? "gated" : "plain", found.key)
        }
        let caps = ["final_logit_softcapping", "attn_logit_softcapping"]
        if let found = Self.first(caps, in: config), Self.isSet(found.value) { set(.softcap, "yes", found.key) }
        set(.softcap, "no", nil)
        if let found = Self.first(["logit_scale", "logits_scaling"], in: config), found.value.double != 1 {
            set(.logitScale, "yes", found.key)
        }
        set(.logitScale, "no", nil)
    }

    private mutating func readHeads(_ config: JSON) {
        let norms = ["qk_layernorm", "use_qk_norm", "qk_norm"]
        if let key = norms.first(where: { config[$0]?.bool == true }) { set(.keyNorm, "yes", key) }
        set(.keyNorm, "no", nil)
        let heads = Self.first(["num_attention_heads", "n_head", "n_heads", "num_heads"], in: config)?.value.int
        if let found = Self.first(["num_key_value_heads", "num_kv_heads", "n_head_kv"], in: config), let heads {
            set(.kvHeads, found.value.int == heads ? "each" : "shared", found.key)
        }
        if config["multi_query"]?.bool == true { set(.kvHeads, "shared", "multi_query") }
        set(.kvHeads, "each", nil)
        let hasWindow = config["use_sliding_window"]?.bool ?? true
        if hasWindow, Self.isSet(config["sliding_window"]) { set(.window, "yes", "sliding_window") }
        set(.window, "no", nil)
    }

    /// What well-known architectures do, and none of their keys says.
    private static let unsaid: [String: [ArchitectureFeature: String]] = [
        "cohere": [.residual: "parallel"], "cohere2": [.residual: "parallel"],
        "phi": [.residual: "parallel"], "gptj": [.residual: "parallel", .positions: "rotary"],
        "codegen": [.residual: "parallel", .positions: "rotary"],
        "olmo": [.norm: "bare"], "bloom": [.positions: "alibi", .gating: "plain", .activation: "gelu"],
        "gemma": [.gating: "gated"], "gemma2": [.gating: "gated", .normPlace: "both"],
        "gemma3": [.gating: "gated", .normPlace: "both", .keyNorm: "yes"],
        "gemma3_text": [.gating: "gated", .normPlace: "both", .keyNorm: "yes"],
        "glm4": [.normPlace: "both", .rotaryShare: "part"], "glm": [.rotaryShare: "part"],
        "chatglm": [.gating: "gated", .activation: "silu", .positions: "rotary", .rotaryShare: "part"],
        "olmo3": [.normPlace: "after", .keyNorm: "yes"], "olmoe": [.keyNorm: "yes"],
        "rwkv": [.kind: "state"], "opt": [.positions: "learned", .norm: "layer"],
    ]
}
