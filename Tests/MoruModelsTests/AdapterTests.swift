import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

/// Adapters that PEFT wrote, here, and adapters that Moru wrote, in PEFT.
@Suite(.tags(.golden), .enabled(if: TestNeeds.python != nil)) struct AdapterTests {
    static let loadable = [
        "plain", "rslora", "layers", "pattern", "gaussian", "dora", "dora-rslora", "ia3", "ia3-inputs", "prompt",
        "prefix", "prefix-projected",
    ]
    static let loadableOnGPT2 = ["gpt2-lora", "gpt2-dora", "gpt2-ia3", "gpt2-prompt", "gpt2-prefix"]
    static let refused = [
        "bias", "modules_to_save", "rank_pattern", "alpha_pattern", "init_lora_weights", "lora_bias",
        "trainable_token_indices",
    ]

    @Test(arguments: loadable) func adaptersOfPEFTGiveTheSameLogits(name: String) throws {
        let written = try Interoperation.written()
        let base = try PretrainedModel.load(written.path("models", "llama"))
        let adapter = try AdapterDirectory.load(from: written.path("adapters", name), for: base.model)
        let expected = try written.logits("adapters", name)
        // Without the adapter they must differ, or the comparison would show nothing
        #expect(disagreement(expected[0], try written.logits("models", "llama")[0], absolute: 0.1, relative: 0) != nil)
        Interoperation.expectAgreement(
            Interoperation.logits(base.model, written, adapter: adapter), expected, name)
    }

    @Test(arguments: loadableOnGPT2) func adaptersOfGPT2GiveTheSameLogits(name: String) throws {
        let written = try Interoperation.written()
        let base = try PretrainedModel.load(written.path("adapters", "gpt2"))
        let adapter = try AdapterDirectory.load(from: written.path("adapters", name), for: base.model)
        let expected = try written.logits("adapters", name)
        #expect(disagreement(expected[0], try written.logits("adapters", "gpt2")[0], absolute: 0.1, relative: 0) != nil)
        Interoperation.expectAgreement(
            Interoperation.logits(base.model, written, adapter: adapter), expected, name)
    }

    @Test(arguments: ["gemma3-lora", "gemma3-prompt"]) func adaptersOfGemmaGiveTheSameLogits(name: String) throws {
        let written = try Interoperation.written()
        let base = try PretrainedModel.load(written.path("models", "gemma3"))
        let adapter = try AdapterDirectory.load(from: written.path("adapters", name), for: base.model)
        let expected = try written.logits("adapters", name)
        #expect(disagreement(expected[0], try written.logits("models", "gemma3")[0], absolute: 0.1, relative: 0) != nil)
        Interoperation.expectAgreement(
            Interoperation.logits(base.model, written, adapter: adapter), expected, name)
    }

    @Test(arguments: ["phi3-lora", "phi3-dora"]) func adaptersOfFusedProjectionsGiveTheSameLogits(name: String) throws {
        let written = try Interoperation.written()
        let base = try PretrainedModel.load(written.path("models", "phi4-mini"))
        let adapter = try AdapterDirectory.load(from: written.path("adapters", name), for: base.model)
        let expected = try written.logits("adapters", name)
        #expect(
            disagreement(expected[0], try written.logits("models", "phi4-mini")[0], absolute: 0.1, relative: 0) != nil)
        Interoperation.expectAgreement(
            Interoperation.logits(base.model, written, adapter: adapter), expected, name)
    }

    @Test(arguments: refused) func whatMoruDoesNotDoIsRefusedByKey(key: String) throws {
        let written = try Interoperation.written()
        let base = try PretrainedModel.load(written.path("models", "llama"))
        let error = #expect(throws: MoruError.self) {
            try LoRAAdapter.load(from: written.path("adapters", key), for: base.model)
        }
        #expect(error?.code == .adapterUnsupported && error?.remedy != nil)
        #expect(error?.message.contains("adapter_config.json: \(key)") == true, "\(String(describing: error))")
    }

    @Test func PEFTLoadsAdaptersOfMoru() throws {
        let written = try Interoperation.written()
        let scratch = try Scratch()
        let basePath = written.path("models", "llama")
        let base = try PretrainedModel.load(basePath)
        let configurations = [
            "attention": LoRAConfiguration(rank: 4, alpha: 10, targets: ["q_proj", "v_proj"]),
            "all": LoRAConfiguration(
                rank: 6, alpha: 9.5, dropout: 0.25,
                targets: ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
                usesRankStabilization: true),
            "dora": LoRAConfiguration(rank: 3, alpha: 4, targets: ["v_proj", "gate_proj"], decomposesWeights: true),
            "one": LoRAConfiguration(rank: 1, alpha: 1, targets: ["model.layers.1.mlp.down_proj"]),
        ]
        var plan = JSONObject()
        var expected: [String: [[Float]]] = [:]
        for (name, configuration) in configurations {
            let adapter = try LoRAAdapter(configuration, adapting: base.model.linears, seed: 5)
            for pair in adapter.pairs.values {
                pair.b.value = Deterministic.tensor(pair.b.path, pair.b.value.shape)
                if let m = pair.magnitude { m.value = m.value + Deterministic.tensor(m.path, m.value.shape) }
            }
            try adapter.save(to: "\(scratch.path)/\(name)", baseModel: basePath)
            plan[name] = [.string(basePath), .string("\(scratch.path)/\(name)")]
            expected[name] = Interoperation.logits(base.model, written, adapter: adapter)
            let again = try LoRAAdapter.load(from: "\(scratch.path)/\(name)", for: base.model)
            #expect(again.configuration == configuration)
            #expect(again.parameters.map(\.path) == adapter.parameters.map(\.path))
        }
        let gpt2Path = written.path("adapters", "gpt2")
        let gpt2 = try PretrainedModel.load(gpt2Path)
        for name in Self.loadableOnGPT2 {
            let adapter = try AdapterDirectory.load(from: written.path("adapters", name), for: gpt2.model)
            try adapter.save(to: "\(scratch.path)/again-\(name)", baseModel: gpt2Path)
            plan["again-\(name)"] = [.string(gpt2Path), .string("\(scratch.path)/again-\(name)")]
            expected["again-\(name)"] = try written.logits("adapters", name)
        }
        let phi3Path = written.path("models", "phi4-mini")
        let phi3 = try AdapterDirectory.load(
            from: written.path("adapters", "phi3-lora"), for: PretrainedModel.load(phi3Path).model)
        try phi3.save(to: scratch.path + "/again-phi3", baseModel: phi3Path)
        plan["again-phi3"] = [.string(phi3Path), .string(scratch.path + "/again-phi3")]
        expected["again-phi3"] = try written.logits("adapters", "phi3-lora")
        for (name, adapter) in try otherKinds(base) {
            for parameter in adapter.parameters {
                let numbers = Deterministic.tensor("\(name) \(parameter.path)", parameter.value.shape)
                parameter.value = adapter is IA3Adapter ? numbers + .ones(numbers.shape) : numbers
            }
            try adapter.save(to: "\(scratch.path)/\(name)", baseModel: basePath)
            plan[name] = [.string(basePath), .string("\(scratch.path)/\(name)")]
            expected[name] = Interoperation.logits(base.model, written, adapter: adapter)
            let again = try AdapterDirectory.load(from: "\(scratch.path)/\(name)", for: base.model)
            #expect(again.peftConfiguration == adapter.peftConfiguration)
        }
        // Experts one by one, as checkpoints have them; PEFT fuses them for the version of transformers that does
        for (name, targets) in [
            ("mixtral", ["q_proj", "w1", "w2", "w3"]), ("qwen3_moe", ["o_proj", "gate_proj", "up_proj", "down_proj"]),
        ] {
            let path = written.path("models", name)
            let mixture = try PretrainedModel.load(path).model
            let adapter = try LoRAAdapter(
                LoRAConfiguration(rank: 3, alpha: 6, targets: targets), adapting: mixture.linears, seed: 5)
            for pair in adapter.pairs.values {
                pair.b.value = Deterministic.tensor(pair.b.path, pair.b.value.shape)
            }
            try adapter.save(to: "\(scratch.path)/\(name)", baseModel: path)
            plan[name] = [.string(path), .string("\(scratch.path)/\(name)")]
            expected[name] = Interoperation.logits(mixture, written, adapter: adapter)
            let again = try LoRAAdapter.load(from: "\(scratch.path)/\(name)", for: mixture)
            #expect(again.parameters.map(\.path) == adapter.parameters.map(\.path))
        }
        // What PEFT wrote, written again by Moru
        for name in Self.loadable {
            let adapter = try AdapterDirectory.load(from: written.path("adapters", name), for: base.model)
            try adapter.save(to: "\(scratch.path)/again-\(name)", baseModel: basePath)
            plan["again-\(name)"] = [.string(basePath), .string("\(scratch.path)/again-\(name)")]
            expected["again-\(name)"] = try written.logits("adapters", name)
        }
        try FileSystem.write((["adapters": .object(plan)] as JSON).text().utf8, to: scratch.path + "/plan.json")
        let answers = try Interoperation.run(["check", scratch.path + "/plan.json"])
        for (name, logits) in expected {
            let found = try #require(answers["adapters"]?[name]?["logits"]?.array).map(\.floats)
            Interoperation.expectAgreement(found, logits, name)
        }
    }

    private func otherKinds(_ base: PretrainedModel) throws -> [(String, any Adapter)] {
        let scaled = IA3Configuration(targets: ["q_proj", "o_proj", "up_proj"], inputTargets: ["o_proj", "up_proj"])
        return [
            ("ia3", try IA3Adapter(IA3Configuration(), adapting: base.model.linears)),
            ("ia3-inputs", try IA3Adapter(scaled, adapting: base.model.linears)),
            ("prompt", try PromptTuningAdapter(tokens: 4, start: .random, for: base.model, base.tokenizer, seed: 1)),
            ("prefix", try PrefixTuningAdapter(tokens: 7, start: .random, for: base.model, base.tokenizer, seed: 1)),
        ]
    }

    @Test(arguments: ["llama3", "qwen3"]) func adaptersOfAnotherBaseAreRefused(name: String) throws {
        let written = try Interoperation.written()
        let scratch = try Scratch()
        let base = try PretrainedModel.load(written.path("models", "qwen3"))
        let other = try TestModels.tinyLlama()
        let configuration = LoRAConfiguration(rank: 2, alpha: 2, targets: ["q_proj"])
        try LoRAAdapter(configuration, adapting: other.linears, seed: 1).save(
            to: scratch.path + "/a", baseModel: "tiny")
        let error = #expect(throws: MoruError.self) {
            try LoRAAdapter.load(from: scratch.path + "/a", for: base.model)
        }
        #expect(error?.code == .adapterMismatch && error?.remedy != nil)
        #expect(error?.message.contains("adapter_model.safetensors") == true)
    }
}

/// Damaged and misplaced adapters.
@Suite struct BadAdapterTests {
    /// A saved adapter of the tiny model whose configuration is then changed.
    private func refusal(
        _ change: (inout JSONObject) -> Void, tensors: ((LoRAAdapter) -> [Safetensors.NamedTensor])? = nil
    ) throws -> MoruError? {
        let scratch = try Scratch()
        let model = try TestModels.tinyLlama()
        let adapter = try LoRAAdapter(
            LoRAConfiguration(rank: 2, alpha: 4, targets: ["q_proj"]), adapting: model.linears, seed: 1)
        try adapter.save(to: scratch.path + "/a", baseModel: "tiny")
        let path = scratch.path + "/a/adapter_config.json"
        var config = try #require(try JSON.parse(file: path).object)
        change(&config)
        try FileSystem.write(JSON.object(config).text().utf8, to: path)
        if let tensors { try Safetensors.write(tensors(adapter), to: scratch.path + "/a/adapter_model.safetensors") }
        do throws(MoruError) {
            _ = try LoRAAdapter.load(from: scratch.path + "/a", for: model)
            return nil
        } catch {
            #expect(error.remedy != nil && error.message.contains(scratch.path), "\(error)")
            return error
        }
    }

    private func named(_ adapter: LoRAAdapter) -> [Safetensors.NamedTensor] {
        adapter.parameters.map { ("base_model.model." + $0.path, $0.value) }
    }

    @Test func whatIsUntouchedLoads() throws {
        #expect(try refusal { _ in } == nil)
    }

    @Test func configurationsAreChecked() throws {
        #expect(try refusal { $0["r"] = nil }?.code == .modelConfiguration)
        #expect(try refusal { $0["r"] = "four" }?.message.contains("\"r\"") == true)
        #expect(try refusal { $0["r"] = 1_000_000_000 }?.code == .adapterMismatch)
        #expect(try refusal { $0["lora_dropout"] = 1.5 }?.message.contains("lora_dropout") == true)
        #expect(try refusal { $0["target_modules"] = [3] }?.message.contains("target_modules") == true)
        #expect(try refusal { $0["target_modules"] = ["q_proj", "o_proj"] }?.code == .adapterMismatch)
        #expect(try refusal { $0["peft_type"] = "IA3" }?.code == .adapterUnsupported)
    }

    @Test func tensorsAreChecked() throws {
        #expect(try refusal({ _ in }, tensors: { Array(self.named($0).dropLast()) })?.code == .adapterMismatch)
        #expect(try refusal({ _ in }, tensors: { Array(self.named($0).dropLast(2)) })?.code == .adapterMismatch)
        let stray = try refusal(
            { _ in }, tensors: { self.named($0) + [("base_model.model.lm_head.lora_A.weight", .zeros([2, 2]))] })
        #expect(stray?.code == .adapterMismatch && stray?.message.contains("lm_head") == true)
        let notFinite = try refusal(
            { _ in },
            tensors: { adapter in
                self.named(adapter).map { ($0.name, .filled(.nan, $0.tensor.shape)) }
            })
        #expect(notFinite?.code == .weightsNotFinite && notFinite?.message.contains("lora_A") == true)
    }

    /// The refusal of an adapter of another kind after a change of its files; nil when it loads.
    private func refusal(
        of adapter: any Adapter, _ change: (inout JSONObject) -> Void = { _ in },
        tensors: [Safetensors.NamedTensor]? = nil
    ) throws -> MoruError? {
        let scratch = try Scratch()
        try adapter.save(to: scratch.path + "/a", baseModel: "tiny")
        let path = scratch.path + "/a/adapter_config.json"
        var config = try #require(try JSON.parse(file: path).object)
        change(&config)
        try FileSystem.write(JSON.object(config).text().utf8, to: path)
        if let tensors { try Safetensors.write(tensors, to: scratch.path + "/a/adapter_model.safetensors") }
        let model = try TestModels.tinyLlama()
        do throws(MoruError) {
            _ = try AdapterDirectory.load(from: scratch.path + "/a", for: model)
            return nil
        } catch {
            #expect(error.remedy != nil && error.message.contains("adapter"), "\(error)")
            return error
        }
    }

    @Test func otherKindsAreChecked() throws {
        let model = try TestModels.tinyLlama()
        let scales = try IA3Adapter(IA3Configuration(targets: ["k_proj"], inputTargets: []), adapting: model.linears)
        let name = "base_model.model.model.layers.0.self_attn.k_proj.ia3_l"
        #expect(try refusal(of: scales) == nil)
        #expect(try refusal(of: scales) { $0["peft_type"] = "VERA" }?.code == .adapterUnsupported)
        #expect(try refusal(of: scales) { $0["modules_to_save"] = ["lm_head"] }?.code == .adapterUnsupported)
        #expect(try refusal(of: scales) { $0["fan_in_fan_out"] = true }?.code == .adapterUnsupported)
        let one = try refusal(of: scales, tensors: [(name, .ones([16, 1]))])
        #expect(one?.code == .adapterMismatch && one?.message.contains("layers.1.self_attn.k_proj") == true)
        #expect(try refusal(of: scales, tensors: [(name, .ones([17, 1]))])?.message.contains("[16, 1]") == true)
        #expect(try refusal(of: scales, tensors: [])?.code == .adapterMismatch)

        let prompt = PromptTuningAdapter(.ones([3, 32]))
        #expect(try refusal(of: prompt) == nil)
        #expect(try refusal(of: prompt) { $0["num_virtual_tokens"] = 4 }?.message.contains("[4, 32]") == true)
        #expect(try refusal(of: prompt) { $0["num_transformer_submodules"] = 2 }?.code == .adapterUnsupported)
        let stray = try refusal(of: prompt, tensors: [("prompt_embeddings", .ones([3, 32])), ("more", .ones([1]))])
        #expect(stray?.code == .adapterMismatch && stray?.message.contains("more") == true)
        let broken = try refusal(of: prompt, tensors: [("prompt_embeddings", .filled(.infinity, [3, 32]))])
        #expect(broken?.code == .weightsNotFinite)

        let prefix = PrefixTuningAdapter(.ones([3, 64]), layerCount: 2, kvHeads: 2)
        #expect(try refusal(of: prefix) == nil)
        let narrow = PrefixTuningAdapter(.ones([3, 32]), layerCount: 2, kvHeads: 2)
        #expect(try refusal(of: narrow)?.message.contains("[3, 64]") == true)

        let error = #expect(throws: MoruError.self) {
            try IA3Adapter(
                IA3Configuration(targets: ["k_proj"], inputTargets: ["down_proj"]), adapting: model.linears)
        }
        #expect(error?.code == .adapterMismatch && error?.message.contains("down_proj") == true)
    }

    @Test func missingFilesAreNamed() throws {
        let scratch = try Scratch()
        let model = try TestModels.tinyLlama()
        func refusal() -> MoruError? {
            #expect(throws: MoruError.self) { try LoRAAdapter.load(from: scratch.path, for: model) }
        }
        #expect(refusal()?.code == .fileNotFound && refusal()?.message.contains("adapter_config.json") == true)
        try FileSystem.write("{}".utf8, to: scratch.path + "/adapter_config.json")
        #expect(refusal()?.message.contains("adapter_model.safetensors") == true)
        try FileSystem.write("".utf8, to: scratch.path + "/adapter_model.bin")
        #expect(refusal()?.remedy?.contains("PEFT") == true)
    }

    @Test func twoTargetsMayNameOneLayer() throws {
        let model = try TestModels.tinyLlama()
        let targets = ["q_proj", "model.layers.0.self_attn.q_proj"]
        let adapter = try LoRAAdapter(LoRAConfiguration(targets: targets), adapting: model.linears, seed: 1)
        #expect(adapter.pairs.count == 2)
    }

    @Test func aTargetThatIsNotThereNamesTheNearest() throws {
        let model = try TestModels.tinyLlama()
        let error = #expect(throws: MoruError.self) {
            try LoRAAdapter(LoRAConfiguration(targets: ["q_prj"]), adapting: model.linears, seed: 1)
        }
        #expect(error?.code == .adapterMismatch && error?.remedy?.contains("q_proj") == true)
    }

    @Test func savingOverOtherThingsIsRefused() throws {
        let scratch = try Scratch()
        try FileSystem.write("mine".utf8, to: scratch.path + "/notes.txt")
        let model = try TestModels.tinyLlama()
        let adapter = try LoRAAdapter(LoRAConfiguration(targets: ["q_proj"]), adapting: model.linears, seed: 1)
        let error = #expect(throws: MoruError.self) { try adapter.save(to: scratch.path, baseModel: "tiny") }
        #expect(error?.code == .directoryOccupied)
        #expect(try FileSystem.list(scratch.path) == ["notes.txt"])
    }
}
