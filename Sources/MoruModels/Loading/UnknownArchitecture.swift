import MoruBase
import MoruTensor

/// What an architecture that Moru has differs in, feature by feature; a feature that is not named is as Llama's.
private struct SupportedTraits {
    /// The values of a feature that the architecture has, the usual one first.
    private let values: [ArchitectureFeature: [String]]

    init(_ values: [ArchitectureFeature: [String]]) { self.values = values }

    func values(of feature: ArchitectureFeature) -> [String] { values[feature] ?? Self.llama[feature] ?? [] }

    private static let llama: [ArchitectureFeature: [String]] = [
        .kind: ["attention"], .experts: ["one"], .positions: ["rotary"], .norm: ["rms"], .normPlace: ["before"],
        .residual: ["serial"], .gating: ["gated"], .activation: ["silu"], .rotaryShare: ["whole"], .keyNorm: ["no"],
        .kvHeads: ["each", "shared"], .softcap: ["no"], .logitScale: ["no"], .window: ["no"],
    ]

    /// In the order of preference where two are as near.
    static let all: [(type: String, traits: SupportedTraits)] = [
        ("llama", SupportedTraits([:])),
        ("mistral", SupportedTraits([.window: ["yes", "no"]])),
        ("qwen2", SupportedTraits([.window: ["no", "yes"]])),
        ("qwen3", SupportedTraits([.keyNorm: ["yes"], .window: ["no", "yes"]])),
        ("granite", SupportedTraits([.logitScale: ["yes", "no"]])),
        ("smollm3", SupportedTraits([.window: ["no", "yes"]])),
        ("phi3", SupportedTraits([.rotaryShare: ["whole", "part"], .window: ["yes", "no"]])),
        ("olmo2", SupportedTraits([.normPlace: ["after"], .keyNorm: ["yes"]])),
        (
            "gpt_neox",
            SupportedTraits([
                .norm: ["layer"], .residual: ["parallel", "serial"], .gating: ["plain"], .activation: ["gelu", "silu"],
                .rotaryShare: ["part", "whole"], .kvHeads: ["each"],
            ])
        ),
        (
            "gpt2",
            SupportedTraits([
                .norm: ["layer"], .positions: ["learned"], .gating: ["plain"], .activation: ["gelu", "silu"],
                .kvHeads: ["each"],
            ])
        ),
        (
            "gemma2",
            SupportedTraits([
                .normPlace: ["both"], .activation: ["gelu"], .softcap: ["yes", "no"], .window: ["yes", "no"],
            ])
        ),
        (
            "gemma3_text",
            SupportedTraits([
                .normPlace: ["both"], .activation: ["gelu"], .keyNorm: ["yes"], .window: ["yes", "no"],
            ])
        ),
        ("mixtral", SupportedTraits([.experts: ["many"], .window: ["no", "yes"]])),
        ("qwen3_moe", SupportedTraits([.experts: ["many"], .keyNorm: ["yes"], .window: ["no", "yes"]])),
        (
            RecurrentConfiguration.modelType,
            SupportedTraits([
                .kind: ["recurrent"], .positions: ["none"], .norm: ["layer", "rms"], .gating: ["plain", "gated"],
            ])
        ),
    ]
}

extension LanguageModels {
    /// The refusal of an architecture that Moru has no definition of: it names the nearest that it has, and what differs.
    ///
    /// - Parameters:
    ///   - config: The keys of its `config.json`, from which the differences are told.
    ///   - supported: What could stand there instead.
    static func unsupported(_ type: String, _ config: JSON, source: String, supported: [String]) -> MoruError {
        let traits = ArchitectureTraits(config, type: type)
        let candidates = SupportedTraits.all
            .filter { supported.contains($0.type) || ggufNames[$0.type].map(supported.contains) == true }
            .map { (type: $0.type, traits: $0.traits, differences: differences(traits, $0.traits)) }
        var parts: [String] = []
        if let nearest = candidates.min(by: { distance($0.differences) < distance($1.differences) }) {
            let told = nearest.differences.sorted().map { feature in
                phrase(feature, traits, nearest.type, nearest.traits.values(of: feature)[0])
            }
            parts.append("the nearest supported one is \(nearest.type)")
            parts += told.isEmpty ? ["nothing that the configuration says differs, its weights may"] : told
        }
        if let name = nearestName(to: type, among: supported) { parts.append("the name most like it is \(name)") }
        parts.append("supported are \(supported.joined(separator: ", "))")
        return MoruError(
            .modelUnsupported, "\(source): the architecture \"\(type)\" is not supported",
            remedy: parts.joined(separator: "; "))
    }

    /// What GGUF files call architectures that have another name there.
    private static let ggufNames = ["gpt_neox": "gptneox", "gemma3_text": "gemma3", "qwen3_moe": "qwen3moe"]

    /// The keys of a `config.json` that a GGUF file's metadata and tensors tell.
    static func configuration(of file: GGUFFile, _ architecture: String) -> JSON {
        let keys = [
            "attention.layer_norm_rms_epsilon": "rms_norm_eps", "attention.layer_norm_epsilon": "layer_norm_eps",
            "use_parallel_residual": "use_parallel_residual", "expert_count": "num_experts",
            "attention.head_count": "num_attention_heads", "attention.head_count_kv": "num_key_value_heads",
            "attention.sliding_window": "sliding_window", "attn_logit_softcapping": "attn_logit_softcapping",
            "final_logit_softcapping": "final_logit_softcapping", "ssm.state_size": "state_size",
            "attention.kv_lora_rank": "kv_lora_rank", "rope.freq_base": "rope_theta", "logit_scale": "logit_scale",
        ]
        let reader = GGUFConfigurationReader(file: file, prefix: architecture)
        var result = JSONObject()
        for (gguf, key) in keys {
            guard let value = reader.value(gguf) else { continue }
            result[key] = value.bool.map { .bool($0) } ?? value.int.map { .int($0) } ?? value.double.map { .double($0) }
        }
        if file.info("blk.0.attn_q_norm.weight") != nil { result["qk_norm"] = true }
        return .object(result)
    }

    private static func differences(
        _ traits: ArchitectureTraits, _ supported: SupportedTraits
    ) -> [ArchitectureFeature] {
        traits.traits.filter { !supported.values(of: $0.key).contains($0.value.value) }.map(\.key)
    }

    private static func distance(_ differences: [ArchitectureFeature]) -> Int {
        differences.reduce(0) { $0 + $1.weight }
    }

    private static func phrase(
        _ feature: ArchitectureFeature, _ traits: ArchitectureTraits, _ nearest: String, _ value: String
    ) -> String {
        let trait = traits.traits[feature]
        let found = trait?.value ?? ""
        let own = feature.phrases[found] ?? "activates with \(found)"
        let key = trait?.key.map { " (\($0))" } ?? ""
        return "this one \(own)\(key), \(nearest) \(feature.phrases[value] ?? value)"
    }
}
