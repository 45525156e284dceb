import MoruBase
import MoruNN
import MoruTensor
import MoruText

extension PretrainedTextModel {
    /// Writes the network, with a head if one is given, as a Hugging Face directory that transformers loads.
    ///
    /// Quantised weights are written out in full. The tokenizer's files are carried over; for a model from a GGUF file
    /// they are made from what the file says.
    ///
    /// - Parameters:
    ///   - directory: Replaced whole once everything is written; what is there must be a model or empty.
    ///   - head: The head's parameters, under their names in the checkpoint (`classifier.weight`). The network's then
    ///     get the names that they have below it, and a language model's output projection is left out.
    ///   - configuration: What `config.json` holds; by default that of the network alone.
    ///   - dtype: How the weights are stored; nil keeps dense ones as they were and writes quantised ones as f32.
    ///   - maximumShardBytes: Files are split where they would grow larger.
    /// - Throws: ``MoruError/Code/safetensorsUnsupportedDType``, ``MoruError/Code/modelConfiguration`` or
    ///   ``MoruError/Code/tokenizerUnsupported`` for what the layout cannot say,
    ///   ``MoruError/Code/directoryOccupied``, or what the file system throws; the directory is then untouched.
    public func save(
        to directory: String, head: [Parameter] = [], configuration: JSON? = nil, dtype: DType? = nil,
        maximumShardBytes: Int = 5_000_000_000
    ) throws {
        try save(
            to: directory, head: head, configuration: configuration, dtype: dtype,
            maximumShardBytes: maximumShardBytes, adding: { _ in })
    }

    /// The same, with more files.
    ///
    /// - Parameter adding: Writes them to the directory that it is given.
    func save(
        to directory: String, head: [Parameter] = [], configuration: JSON? = nil, dtype: DType? = nil,
        maximumShardBytes: Int = 5_000_000_000, adding: (String) throws -> Void
    ) throws {
        try ModelDirectory.checkStorable(dtype, directory)
        try ModelDirectory.checkReplaceable(directory, marker: "config.json")
        var config = (configuration ?? base.configurationJSON).object ?? JSONObject()
        var own = base.parameters
        if !head.isEmpty, let model = base as? any LanguageModel,
            model.outputProjection !== model.inputEmbedding?.weight
        {
            own.removeAll { $0 === model.outputProjection }
        }
        var tensors = ModelDirectory.tensors(of: own, transposed: base.transposedPaths, as: dtype)
        if isEncoder {
            let prefix = try Encoders.prefix(of: base.configurationJSON, source: path) + "."
            tensors = tensors.map { name, tensor in
                let bare = name.hasPrefix(prefix) ? String(name.dropFirst(prefix.count)) : name
                return (head.isEmpty ? bare : prefix + bare, tensor)
            }
        }
        tensors += ModelDirectory.tensors(of: head, transposed: [], as: dtype)
        ModelDirectory.name(dtypesOf: tensors.map(\.tensor), in: &config)
        let tokenizerFiles = try FileSystem.exists(path + "/tokenizer.json") ? [] : exportedTokenizer()
        let (stored, text) = (tensors, JSON.object(config).text(pretty: true))
        try FileSystem.writeDirectoryAtomically(to: directory) { temporary in
            try Safetensors.writeSharded(stored, directory: temporary, maximumShardBytes: maximumShardBytes)
            try FileSystem.write(text.utf8, to: temporary + "/config.json")
            try ModelDirectory.carry(ModelDirectory.tokenizerFiles, from: path, to: temporary)
            for (name, content) in tokenizerFiles {
                try FileSystem.write(content.text(pretty: name != "tokenizer.json").utf8, to: "\(temporary)/\(name)")
            }
            try adding(temporary)
        }
    }

    /// The files of a tokenizer that did not come from a directory.
    private func exportedTokenizer() throws(MoruError) -> [(name: String, content: JSON)] {
        var config = tokenizer.configurationJSON.object ?? JSONObject()
        config["model_max_length"] = .int(base.facts.contextLength)
        return [("tokenizer.json", try tokenizer.fileJSON(source: path)), ("tokenizer_config.json", .object(config))]
    }
}
