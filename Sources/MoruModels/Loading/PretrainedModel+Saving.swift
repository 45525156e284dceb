import Foundation
import MoruBase
import MoruTensor

extension PretrainedModel {
    /// Writes the model as a Hugging Face directory that transformers loads.
    ///
    /// Quantised weights are written out in full. The tokenizer's files are carried over from a model that was loaded
    /// from a directory.
    ///
    /// - Parameters:
    ///   - directory: Replaced whole once everything is written.
    ///   - dtype: How matrices are stored; nil keeps dense ones as they are and writes quantised ones as f32.
    ///   - maximumShardBytes: Files are split where they would grow larger.
    /// - Throws: What the file system throws; the directory is then untouched.
    public func save(to directory: String, dtype: DType? = nil, maximumShardBytes: Int = 5_000_000_000) throws {
        let tensors = model.parameters.map { parameter in
            let value = parameter.value
            let target = dtype ?? (value.dtype.isQuantized ? .f32 : value.dtype)
            return (name: parameter.path, tensor: value.rank > 1 ? value.converted(to: target) : value)
        }
        var config = model.configurationJSON.object ?? JSONObject()
        if let ids = generationDefaults.endIDs.first { config["eos_token_id"] = .int(Int(ids)) }
        if let id = tokenizer.beginOfSequence { config["bos_token_id"] = .int(Int(id)) }
        try FileSystem.writeDirectoryAtomically(to: directory) { temporary in
            try Safetensors.writeSharded(tensors, directory: temporary, maximumShardBytes: maximumShardBytes)
            try FileSystem.write(JSON.object(config).text(pretty: true).utf8, to: temporary + "/config.json")
            for name in Self.carriedFiles where FileSystem.exists("\(path)/\(name)") {
                try FileSystem.write(FileSystem.read("\(path)/\(name)"), to: "\(temporary)/\(name)")
            }
        }
    }

    private static let carriedFiles = [
        "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja",
        "generation_config.json", "README.md", "LICENSE",
    ]
}
