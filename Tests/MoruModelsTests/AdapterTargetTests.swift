import MoruBase
import MoruModels
import MoruNN
import MoruTestKit
import Testing

/// Which layers adapters take when nobody names them, over every architecture.
@Suite struct AdapterTargetTests {
    private static let llama = (
        lora: ["q_proj", "k_proj", "v_proj", "o_proj"], scaled: ["k_proj", "v_proj", "down_proj"],
        byInput: ["down_proj"]
    )
    private static let bert = (
        lora: ["query", "key", "value", "attention.output.dense"], scaled: ["key", "value", "output.dense"],
        byInput: ["output.dense"]
    )
    /// By `model_type`; what is not here is called as in Llama.
    private static let others: [String: (lora: [String], scaled: [String], byInput: [String])] = [
        "phi3": (["qkv_proj", "o_proj"], ["qkv_proj", "down_proj"], ["down_proj"]),
        "gpt_neox": (["query_key_value", "dense"], ["query_key_value", "dense_4h_to_h"], ["dense_4h_to_h"]),
        "gpt2": (["c_attn", "attn.c_proj"], ["c_attn", "mlp.c_proj"], ["mlp.c_proj"]),
        "mixtral": (llama.lora, ["k_proj", "v_proj", "w2"], ["w2"]),
        "bert": bert, "roberta": bert, "xlm-roberta": bert, "camembert": bert,
        "distilbert": (["q_lin", "k_lin", "v_lin", "out_lin"], ["k_lin", "v_lin", "lin2"], ["lin2"]),
    ]

    /// Every golden model's layers, by its `model_type`.
    private func models() throws -> [(type: String, model: any TextModel)] {
        try ["llama", "families", "gemma", "experts", "gpt2", "encoders"].flatMap { file in
            try (Goldens.json("\(file).json")["models"]?.object ?? JSONObject()).members.map { name, golden in
                let config = try #require(golden["config"])
                let type = try #require(config["model_type"]?.string)
                let weights = Weights(DeterministicWeights())
                let model: any TextModel =
                    try Encoders.architectures.contains(type)
                    ? Encoders.build(config, source: name, weights)
                    : LanguageModels.build(config, source: name, weights)
                return (type, model)
            }
        }
    }

    @Test func everyArchitectureHasTargetsOfItsOwn() throws {
        let models = try models()
        let missing = Set(LanguageModels.architectures + Encoders.architectures).subtracting(models.map(\.type))
        // The first two are called as RoBERTa's and Gemma's, the last has a test of its own
        #expect(missing == ["camembert", "gemma3", "moru_recurrent"], "\(missing)")
        for (type, model) in models {
            let expected = Self.others[type] ?? Self.llama
            let lora = try LoRAAdapter(LoRAConfiguration(rank: 1), adapting: model.linears, seed: 1)
            #expect(lora.configuration.targets == expected.lora, "\(type)")
            let perLayer = expected.lora.count
            #expect(lora.pairs.count == perLayer * model.facts.layerCount, "\(type)")
            let scales = try IA3Adapter(IA3Configuration(), adapting: model.linears)
            #expect(scales.configuration.targets == expected.scaled, "\(type)")
            #expect(scales.configuration.inputTargets == expected.byInput, "\(type)")
            let all = LoRAConfiguration(rank: 1, targets: [LayerGroup.allLinear])
            #expect(try LoRAAdapter(all, adapting: model.linears, seed: 1).pairs.count == model.linears.count)
        }
    }

    @Test func withoutAttentionLoRATakesEveryLayerAndScalesWantNames() throws {
        let golden = try #require(Goldens.json("recurrent.json")["models"]?.object?.members.first { _ in true }?.value)
        let model = try LanguageModels.build(
            try #require(golden["config"]), source: "recurrent", Weights(DeterministicWeights()))
        let lora = try LoRAAdapter(LoRAConfiguration(rank: 1), adapting: model.linears, seed: 1)
        #expect(!model.linears.isEmpty && lora.pairs.count == model.linears.count)
        let error = #expect(throws: MoruError.self) {
            try IA3Adapter(IA3Configuration(), adapting: model.linears)
        }
        #expect(error?.code == .adapterMismatch && error?.remedy?.contains("name the layers") == true)
    }

    @Test func groupsStandBesideNamesAndNamesStayStrict() throws {
        let model = try TestModels.tinyLlama()
        func targets(_ names: [String]) throws -> [String] {
            try LoRAAdapter(LoRAConfiguration(targets: names), adapting: model.linears, seed: 1).configuration.targets
        }
        #expect(try targets(["up_proj", "auto", "q_proj"]) == ["up_proj", "q_proj", "k_proj", "v_proj", "o_proj"])
        #expect(throws: MoruError.self) { try targets(["auto", "c_attn"]) }
        let scales = try IA3Adapter(IA3Configuration(targets: ["k_proj"]), adapting: model.linears)
        #expect(scales.configuration.inputTargets.isEmpty && scales.layers.count == 2)
    }
}
