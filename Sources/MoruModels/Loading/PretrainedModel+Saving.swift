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
    ///   ``MoruError/Code/tokenizerUnsupported`` for what the layout cannot say,
    ///   ``MoruError/Code/directoryOccupied``, or what the file system throws; the directory is then untouched.
    public func save(to directory: String, dtype: DType? = nil, maximumShardBytes: Int = 5_000_000_000) throws {
        try ModelDirectory.checkStorable(dtype, directory)
        try ModelDirectory.checkReplaceable(directory, marker: "config.json")
        let tensors = ModelDirectory.tensors(of: model.parameters, transposed: model.transposedPaths, as: dtype)
        let config = try storedConfiguration(tensors.map(\.tensor))
        let tokenizerFiles = try FileSystem.exists(path + "/tokenizer.json") ? [] : exportedTokenizer()
        try FileSystem.writeDirectoryAtomically(to: directory) { temporary in
            try Safetensors.writeSharded(tensors, directory: temporary, maximumShardBytes: maximumShardBytes)
            try FileSystem.write(config.text(pretty: true).utf8, to: temporary + "/config.json")
            try ModelDirectory.carry(
                ModelDirectory.tokenizerFiles + ["generation_config.json"], from: path, to: temporary)
            for (name, content) in tokenizerFiles {
                try FileSystem.write(content.text(pretty: name != "tokenizer.json").utf8, to: "\(temporary)/\(name)")
            }
        }
    }

    private func storedConfiguration(_ tensors: [Tensor]) throws(MoruError) -> JSON {
        if let llama = model as? Llama, case .perFrequency = llama.configuration.ropeScaling {
            throw MoruError(
                .modelConfiguration, "\(path): the factors of rope_freqs.weight are none that config.json can say",
                remedy: "start from the model's Hugging Face directory instead")
        }
        var config = model.configurationJSON.object ?? JSONObject()
        ModelDirectory.name(dtypesOf: tensors, in: &config)
        if JSON.object(config)["eos_token_id"] == nil,
            let id = tokenizer.endOfSequence ?? generationDefaults.endIDs.first
        {
            config["eos_token_id"] = .int(Int(id))
        }
        if JSON.object(config)["bos_token_id"] == nil, let id = tokenizer.beginOfSequence {
            config["bos_token_id"] = .int(Int(id))
        }
        // transformers has a default of each architecture's, which need not lie in this vocabulary
        if config["pad_token_id"] == nil { config["pad_token_id"] = tokenizer.padding.map { .int(Int($0)) } ?? .null }
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
