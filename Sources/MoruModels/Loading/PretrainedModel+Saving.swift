import Foundation
import MoruBase
import MoruNN
import MoruTensor
import MoruText

extension PretrainedModel {
    /// Writes the model as a Hugging Face directory that transformers loads.
    ///
    /// Quantised weights are written out in full. The tokenizer's files are carried over from a model that was loaded
    /// from a directory; for one from a GGUF file they are made from what the file says.
    ///
    /// - Parameters:
    ///   - directory: Replaced whole once everything is written; what is there must be a model or empty.
    ///   - dtype: How the weights are stored; nil keeps dense ones as they were and writes quantised ones as f32.
    ///   - maximumShardBytes: Files are split where they would grow larger.
    /// - Throws: ``MoruError/Code/safetensorsUnsupportedDType``, ``MoruError/Code/modelConfiguration`` or
    ///   ``MoruError/Code/tokenizerUnsupported`` for what the layout cannot say, ``MoruError/Code/directoryOccupied``, or what the file system throws; the directory is then
    ///   untouched.
    public func save(to directory: String, dtype: DType? = nil, maximumShardBytes: Int = 5_000_000_000) throws {
        if let dtype, dtype.isQuantized || !dtype.isFloatingPoint {
            throw MoruError(
                .safetensorsUnsupportedDType, "\(directory): weights cannot be stored as \(dtype.rawValue)",
                remedy: "choose f32, bf16 or f16")
        }
        try ModelDirectory.checkReplaceable(directory, marker: "config.json")
        let tensors = storedTensors(dtype)
        let config = try storedConfiguration(tensors.map(\.tensor))
        let tokenizerFiles = try FileSystem.exists(path + "/tokenizer.json") ? [] : exportedTokenizer()
        try FileSystem.writeDirectoryAtomically(to: directory) { temporary in
            try Safetensors.writeSharded(tensors, directory: temporary, maximumShardBytes: maximumShardBytes)
            try FileSystem.write(config.text(pretty: true).utf8, to: temporary + "/config.json")
            for name in Self.carriedFiles where FileSystem.exists("\(path)/\(name)") {
                try FileSystem.write(FileSystem.read("\(path)/\(name)"), to: "\(temporary)/\(name)")
            }
            for (name, content) in tokenizerFiles {
                try FileSystem.write(content.text(pretty: name != "tokenizer.json").utf8, to: "\(temporary)/\(name)")
            }
        }
    }

    private static let carriedFiles = [
        "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.model",
        "vocab.json", "merges.txt", "chat_template.jinja", "generation_config.json", "README.md", "LICENSE",
        "LICENSE.txt", "LICENSE.md", "NOTICE",
    ]

    private func storedTensors(_ dtype: DType?) -> [Safetensors.NamedTensor] {
        let parameters = model.parameters
        let matrices = Set(parameters.filter { $0.value.rank > 1 }.map { stored($0.value.dtype) })
        // Vectors are held in f32; those of a bf16 or f16 checkpoint go back to it, where they fit it exactly
        let common = matrices.count == 1 ? matrices.first ?? .f32 : .f32
        let transposed = model.transposedPaths
        func layout(_ parameter: Parameter, _ dtype: DType) -> Tensor {
            let value = parameter.value.converted(to: dtype)
            return transposed.contains(parameter.path) ? value.transposedCopy() : value
        }
        return parameters.map { parameter in
            let value = parameter.value
            if let dtype { return (parameter.path, layout(parameter, dtype)) }
            if value.rank > 1 { return (parameter.path, layout(parameter, stored(value.dtype))) }
            let narrow = value.converted(to: common)
            return (parameter.path, narrow.converted(to: .f32).values() == value.values() ? narrow : value)
        }
    }

    private func stored(_ dtype: DType) -> DType { dtype.isQuantized ? .f32 : dtype }

    private func storedConfiguration(_ tensors: [Tensor]) throws(MoruError) -> JSON {
        if let llama = model as? Llama, case .perFrequency = llama.configuration.ropeScaling {
            throw MoruError(
                .modelConfiguration, "\(path): the factors of rope_freqs.weight are none that config.json can say",
                remedy: "start from the model's Hugging Face directory instead")
        }
        var config = model.configurationJSON.object ?? JSONObject()
        let names: [DType: JSON] = [.f32: "float32", .bf16: "bfloat16", .f16: "float16"]
        // transformers converts every weight to this when it loads, so that it must not be narrower than any
        let dtypes = Set(tensors.map(\.dtype))
        config["dtype"] = nil
        config["torch_dtype"] = (dtypes.count == 1 ? dtypes.first : .f32).flatMap { names[$0] } ?? "float32"
        if JSON.object(config)["eos_token_id"] == nil,
            let id = tokenizer.endOfSequence ?? generationDefaults.endIDs.first
        {
            config["eos_token_id"] = .int(Int(id))
        }
        if JSON.object(config)["bos_token_id"] == nil, let id = tokenizer.beginOfSequence {
            config["bos_token_id"] = .int(Int(id))
        }
        return .object(config)
    }

    /// The files of a tokenizer that did not come from a directory.
    private func exportedTokenizer() throws(MoruError) -> [(name: String, content: JSON)] {
        var config = tokenizer.configurationJSON.object ?? JSONObject()
        config["model_max_length"] = .int(model.facts.contextLength)
        config["chat_template"] = chatTemplate.map { .string($0.source) }
        var generation = JSONObject()
        generation["eos_token_id"] = .array(generationDefaults.endIDs.map { .int(Int($0)) })
        generation["bos_token_id"] = tokenizer.beginOfSequence.map { .int(Int($0)) }
        generation["pad_token_id"] = tokenizer.padding.map { .int(Int($0)) }
        return [
            ("tokenizer.json", try tokenizer.fileJSON(source: path)), ("tokenizer_config.json", .object(config)),
            ("generation_config.json", .object(generation)),
        ]
    }
}

/// Directories that saving replaces whole.
enum ModelDirectory {
    /// Refuses to replace a directory that holds something else than what is being saved.
    ///
    /// - Parameter marker: The file that every directory of the kind has.
    static func checkReplaceable(_ directory: String, marker: String) throws(MoruError) {
        guard FileSystem.exists(directory), !FileSystem.exists("\(directory)/\(marker)") else { return }
        guard FileSystem.isDirectory(directory), try FileSystem.list(directory).isEmpty else {
            throw MoruError(
                .directoryOccupied, "\(directory) exists and has no \(marker): saving would replace it",
                remedy: "name a new directory, or empty this one")
        }
    }
}
