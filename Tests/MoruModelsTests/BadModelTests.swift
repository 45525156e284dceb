import Foundation
import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

/// A tiny model directory that a test then damages.
private struct Damaged {
    let scratch: Scratch
    var path: String { scratch.path + "/model" }

    init() throws {
        scratch = try Scratch()
        try TestModels.tinyPretrained().save(to: path)
    }

    func edit(_ file: String, _ change: (inout JSONObject) -> Void) throws {
        var object = JSONObject()
        if FileSystem.exists("\(path)/\(file)") { object = try #require(JSON.parse(file: "\(path)/\(file)").object) }
        change(&object)
        try write(JSON.object(object).text(), file)
    }

    func write(_ text: String, _ file: String) throws { try FileSystem.write(text.utf8, to: "\(path)/\(file)") }

    /// Writes the tensors again, changed.
    func tensors(_ change: (inout [Safetensors.NamedTensor]) -> Void) throws {
        let source = try TensorDirectory(path: path)
        var tensors = try source.names.map { (name: $0, tensor: try source.tensor($0)) }
        change(&tensors)
        try Safetensors.write(tensors, to: path + "/model.safetensors")
    }

    /// The error that loading gives, which must name the file and a remedy.
    func refusal(naming file: String) throws -> MoruError? {
        let error = #expect(throws: MoruError.self) { try PretrainedModel.load(path) }
        #expect(error?.message.contains(file) == true, "\(String(describing: error))")
        #expect(error?.remedy?.isEmpty == false, "\(String(describing: error))")
        return error
    }
}

/// Every kind of bad input: the code, the file and key named, a remedy, and no crash.
@Suite struct BadModelTests {
    @Test func whatIsUntouchedLoads() throws {
        let damaged = try Damaged()
        #expect(try PretrainedModel.load(damaged.path).model.facts.vocabularySize == 259)
    }

    @Test(arguments: [
        "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "model_type",
    ]) func missingKeysAreNamed(key: String) throws {
        let damaged = try Damaged()
        try damaged.edit("config.json") { $0[key] = nil }
        let error = try damaged.refusal(naming: "config.json")
        #expect(error?.code == .modelConfiguration && error?.message.contains("\"\(key)\"") == true)
    }

    @Test(
        arguments: [
            ("vocab_size", "many"), ("hidden_size", -1), ("hidden_size", 0), ("num_hidden_layers", 2.5),
            ("num_hidden_layers", 2_000_000_000), ("num_attention_heads", 99_999_999_999), ("num_key_value_heads", 3),
            ("head_dim", 7), ("rms_norm_eps", "small"), ("rms_norm_eps", 0), ("rms_norm_eps", 1e300),
            ("rope_theta", -5),
            ("tie_word_embeddings", 1), ("rope_scaling", 3), ("attention_bias", "no"), ("model_type", 5),
            ("rope_scaling", ["rope_type": "linear"]), ("rope_scaling", ["rope_type": "linear", "factor": 0]),
            ("rope_scaling", ["rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 1]),
            ("eos_token_id", "end"), ("eos_token_id", [-1]), ("max_position_embeddings", [1]),
        ] as [(String, JSON)]) func wrongValuesAreNamed(key: String, value: JSON) throws
    {
        let damaged = try Damaged()
        try damaged.edit("config.json") { $0[key] = value }
        let error = try damaged.refusal(naming: "config.json")
        #expect(
            error?.code == .modelConfiguration && error?.message.contains(key) == true, "\(String(describing: error))")
    }

    @Test(
        arguments: [
            ("model_type", "lama"), ("hidden_act", "gelu"), ("quantization_config", ["quant_method": "gptq"]),
            ("partial_rotary_factor", 0.5), ("rope_scaling", ["rope_type": "longrope", "factor": 2]),
        ] as [(String, JSON)]) func whatMoruDoesNotDoIsRefused(key: String, value: JSON) throws
    {
        let damaged = try Damaged()
        try damaged.edit("config.json") { $0[key] = value }
        #expect(try damaged.refusal(naming: "config.json")?.code == .modelUnsupported)
    }

    /// Sizes far beyond the file's tensors are refused by comparing shapes, before anything of that size is made.
    @Test(arguments: ["vocab_size", "hidden_size", "intermediate_size", "head_dim"]) func absurdSizesAllocateNothing(
        key: String
    ) throws {
        let damaged = try Damaged()
        try damaged.edit("config.json") { $0[key] = 2_000_000_000 }
        let clock = ContinuousClock.now
        let error = try damaged.refusal(naming: damaged.path)
        #expect(
            error?.code == .weightShape && error?.message.contains("000000000") == true, "\(String(describing: error))")
        #expect(ContinuousClock.now - clock < .seconds(5))
    }

    @Test func tensorsAreChecked() throws {
        let missing = try Damaged()
        try missing.tensors { $0.removeAll { $0.name == "model.layers.1.mlp.up_proj.weight" } }
        let lost = try missing.refusal(naming: missing.path)
        #expect(lost?.code == .weightMissing && lost?.message.contains("model.layers.1.mlp.up_proj.weight") == true)

        let reshaped = try Damaged()
        try reshaped.tensors { tensors in
            for index in tensors.indices where tensors[index].name == "model.norm.weight" {
                tensors[index].tensor = .zeros([31])
            }
        }
        let shape = try reshaped.refusal(naming: reshaped.path)
        #expect(shape?.code == .weightShape && shape?.message.contains("[31]") == true)

        let integers = try Damaged()
        try integers.tensors { tensors in
            for index in tensors.indices where tensors[index].name == "model.norm.weight" {
                tensors[index].tensor = Tensor(uninitialized: [32], dtype: .i32)
            }
        }
        let kind = try integers.refusal(naming: integers.path)
        #expect(kind?.code == .weightShape && kind?.message.contains("integers") == true)
    }

    @Test func tensorsWithoutAPlaceAreRefused() throws {
        let biased = try Damaged()
        try biased.tensors { $0.append((name: "model.layers.0.self_attn.q_proj.bias", tensor: .ones([32]))) }
        let bias = try biased.refusal(naming: biased.path)
        #expect(bias?.code == .weightUnexpected && bias?.message.contains("q_proj.bias") == true)

        let shortened = try Damaged()
        try shortened.edit("config.json") { $0["num_hidden_layers"] = 1 }
        let layer = try shortened.refusal(naming: shortened.path)
        #expect(layer?.code == .weightUnexpected && layer?.message.contains("model.layers.1.") == true)

        // What older checkpoints of the family carry along changes nothing
        let harmless = try Damaged()
        try harmless.tensors { $0.append((name: "model.layers.0.self_attn.rotary_emb.inv_freq", tensor: .ones([4]))) }
        #expect(try PretrainedModel.load(harmless.path).model.facts.layerCount == 2)
    }

    @Test func numbersThatAreNotFiniteAreFoundByName() throws {
        let damaged = try Damaged()
        let name = "model.layers.1.self_attn.k_proj.weight"
        try damaged.tensors { tensors in
            for index in tensors.indices where tensors[index].name == name {
                var values = tensors[index].tensor.values()
                values[5] = .nan
                tensors[index].tensor = Tensor(values, shape: tensors[index].tensor.shape)
            }
        }
        #expect(try PretrainedModel.load(damaged.path).model.firstNonFiniteParameter() == name)
    }

    @Test func truncatedFilesAreRefused() throws {
        let damaged = try Damaged()
        let bytes = try FileSystem.read(damaged.path + "/model.safetensors")
        for count in [0, 7, 100, bytes.count / 2, bytes.count - 1] {
            try FileSystem.write(bytes.prefix(count), to: damaged.path + "/model.safetensors")
            let error = try damaged.refusal(naming: "model.safetensors")
            #expect([.safetensorsTruncated, .safetensorsMalformed].contains(error?.code), "\(count)")
        }
        FileSystem.remove(damaged.path + "/model.safetensors")
        #expect(try damaged.refusal(naming: "model.safetensors")?.code == .fileNotFound)
    }

    @Test func malformedFilesAreRefused() throws {
        let damaged = try Damaged()
        try damaged.write("{\"model_type\": \"llama\",\n  oops}", "config.json")
        let error = try damaged.refusal(naming: "config.json")
        #expect(error?.code == .jsonMalformed && error?.message.contains("line 2") == true)
        for text in ["[]", "3", "null", "{}"] {
            try damaged.write(text, "config.json")
            #expect(try damaged.refusal(naming: "config.json")?.code == .modelConfiguration)
        }
    }

    @Test func tokenizersAreChecked() throws {
        let larger = try Damaged()
        try larger.edit("tokenizer.json") { file in
            file["added_tokens"] = .array(
                (file["added_tokens"]?.array ?? []) + [["id": 400, "content": "<x>", "special": true]])
        }
        let mismatch = try larger.refusal(naming: larger.path)
        #expect(mismatch?.code == .tokenizerMismatch && mismatch?.message.contains("259") == true)

        let other = try Damaged()
        try other.edit("config.json") { $0["eos_token_id"] = [258, 9999] }
        let end = try other.refusal(naming: other.path)
        #expect(end?.code == .tokenizerMismatch && end?.message.contains("9999") == true)

        let malformed = try Damaged()
        try malformed.write("{\"model\": {\"type\": \"BPE\"}}", "tokenizer.json")
        #expect(try malformed.refusal(naming: "tokenizer.json")?.code == .tokenizerMalformed)
        try malformed.write("{", "tokenizer.json")
        #expect(try malformed.refusal(naming: "tokenizer.json")?.code == .jsonMalformed)
        FileSystem.remove(malformed.path + "/tokenizer.json")
        #expect(try malformed.refusal(naming: "tokenizer.json")?.code == .fileNotFound)

        let roles = try Damaged()
        try roles.edit("tokenizer_config.json") { $0["eos_token"] = "<nowhere>" }
        let role = try roles.refusal(naming: roles.path + "/tokenizer_config.json")
        #expect(role?.code == .tokenizerMalformed && role?.message.contains("<nowhere>") == true)
    }

    @Test func theTemplatesFileComesBeforeTheConfiguration() throws {
        let damaged = try Damaged()
        try damaged.edit("tokenizer_config.json") { $0["chat_template"] = "configured" }
        #expect(try PretrainedModel.load(damaged.path).chatTemplate?.source == "configured")
        try damaged.write("filed", "chat_template.jinja")
        #expect(try PretrainedModel.load(damaged.path).chatTemplate?.source == "filed")
    }

    @Test func templatesAreChecked() throws {
        let damaged = try Damaged()
        try damaged.edit("tokenizer_config.json") { $0["chat_template"] = "{% for x in %}" }
        #expect(try damaged.refusal(naming: "tokenizer_config.json")?.code.name.hasPrefix("template") == true)
        try damaged.edit("tokenizer_config.json") { $0["chat_template"] = 4 }
        #expect(try damaged.refusal(naming: "tokenizer_config.json")?.code == .modelConfiguration)
        try damaged.edit("tokenizer_config.json") { $0["chat_template"] = nil }
        try damaged.write("{{ oops", "chat_template.jinja")
        #expect(try damaged.refusal(naming: "chat_template.jinja")?.code.name.hasPrefix("template") == true)
    }

    @Test(
        arguments: [
            ("temperature", "hot"), ("temperature", -1), ("top_p", 1.5), ("top_k", -3), ("do_sample", "yes"),
            ("repetition_penalty", 0), ("eos_token_id", ["a"]),
        ] as [(String, JSON)]) func generationDefaultsAreChecked(key: String, value: JSON) throws
    {
        let damaged = try Damaged()
        try damaged.edit("generation_config.json") { $0[key] = value }
        let error = try damaged.refusal(naming: "generation_config.json")
        #expect(error?.code == .modelConfiguration && error?.message.contains(key) == true)
    }

    @Test func pathsThatHoldNoModelAreRefused() throws {
        let scratch = try Scratch()
        func refusal(_ path: String) -> MoruError? {
            let error = #expect(throws: MoruError.self) { try PretrainedModel.load(path) }
            #expect(error?.message.contains(path) == true && error?.remedy != nil, "\(String(describing: error))")
            return error
        }
        #expect(refusal(scratch.path + "/nowhere")?.code == .modelNotFound)
        #expect(refusal(scratch.path)?.code == .modelNotFound)
        try FileSystem.write("plain text".utf8, to: scratch.path + "/notes.gguf")
        #expect(refusal(scratch.path + "/notes.gguf")?.code == .ggufMalformed)
        try FileSystem.write("plain text".utf8, to: scratch.path + "/notes.txt")
        #expect(refusal(scratch.path + "/notes.txt")?.code == .modelNotFound)
        try FileSystem.write([], to: scratch.path + "/more.gguf")
        #expect(refusal(scratch.path)?.message.contains("more.gguf, notes.gguf") == true)
        #expect(refusal(scratch.path + "/more.gguf")?.code == .ggufTruncated)
        try FileSystem.write("{}".utf8, to: scratch.path + "/adapter/adapter_config.json")
        #expect(refusal(scratch.path + "/adapter")?.remedy?.contains("adapter") == true)
    }
}
