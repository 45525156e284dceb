import MoruBase
import MoruNN
import MoruTensor

// The files of sentence-transformers: `modules.json` lists the modules and their folders, each with a `config.json`.
extension SentenceModules {
    private static let listName = "modules.json"
    private static let settingsName = "config_sentence_transformers.json"

    /// Whether a directory is one of sentence-transformers.
    static func areIn(_ directory: String) -> Bool { FileSystem.exists("\(directory)/\(listName)") }

    /// The folder that holds the network and the tokenizer: the directory itself, or one in it.
    static func networkDirectory(of directory: String) throws(MoruError) -> String {
        guard areIn(directory) else { return directory }
        return try list(directory).first?.folder ?? directory
    }

    private struct Entry {
        var type: String
        var folder: String
    }

    private static func list(_ directory: String) throws(MoruError) -> [Entry] {
        let path = "\(directory)/\(listName)"
        guard let modules = try JSON.parse(file: path).array, !modules.isEmpty else {
            throw MoruError(
                .modelConfiguration, "\(path) is not a list of modules",
                remedy: "restore the file that came with the model")
        }
        var entries: [Entry] = []
        for module in modules {
            let reader = ConfigurationReader(json: module, source: path)
            guard let type = try reader.text("type") else { throw reader.missing("type") }
            let name = try reader.text("path") ?? ""
            guard !name.split(separator: "/").contains(".."), !name.hasPrefix("/") else {
                throw reader.unexpected("path", .string(name), "a folder beside the file")
            }
            entries.append(
                Entry(
                    type: String(type.split(separator: ".").last ?? ""),
                    folder: name.isEmpty ? directory : "\(directory)/\(name)"))
        }
        guard entries[0].type == "Transformer" else {
            throw MoruError(
                .modelUnsupported, "\(path): the first module is \(entries[0].type), no Transformer",
                remedy: "use a model whose embeddings come from an encoder or a language model")
        }
        return entries
    }

    /// Reads the modules of a directory; nil where it has no `modules.json`.
    ///
    /// - Throws: ``MoruError/Code/modelConfiguration`` or ``MoruError/Code/modelUnsupported``, naming file and key, or
    ///   what the weights of projections throw.
    public init?(directory: String) throws(MoruError) {
        guard Self.areIn(directory) else { return nil }
        let entries = try Self.list(directory)
        self.init(poolings: [], steps: [])
        for entry in entries.dropFirst() {
            let isFirst = poolings.isEmpty
            switch entry.type {
            case "Pooling" where isFirst: try readPooling("\(entry.folder)/config.json")
            case "Normalize" where !isFirst: steps.append(.normalize)
            case "Dense" where !isFirst: steps.append(try Self.dense(entry.folder))
            case "Dropout": continue  // which does nothing but in training
            default:
                throw MoruError(
                    .modelUnsupported, "\(directory)/\(Self.listName): the module \(entry.type) is not supported here",
                    remedy: "supported are Transformer, then Pooling, then Dense and Normalize")
            }
        }
        guard !poolings.isEmpty else {
            throw MoruError(
                .modelConfiguration, "\(directory)/\(Self.listName) has no Pooling",
                remedy: "restore the file that came with the model")
        }
        try readLimits(entries[0].folder)
        try readSettings("\(directory)/\(Self.settingsName)")
    }

    private mutating func readPooling(_ path: String) throws(MoruError) {
        let json = try JSON.parse(file: path)
        let reader = ConfigurationReader(json: json, source: path)
        if let mode = json["pooling_mode"], mode.string != nil || mode.array != nil {
            let names =
                mode.string.map { $0.split(separator: "+").map(String.init) } ?? mode.array?.map { $0.string ?? "" }
            for name in names ?? [] {
                guard let pooling = Pooling(rawValue: name) else {
                    throw reader.unexpected(
                        "pooling_mode", mode, "of \(Pooling.allCases.map(\.rawValue).joined(separator: ", "))")
                }
                poolings.append(pooling)
            }
        } else {
            let keys: [(String, Pooling)] = [
                ("cls_token", .cls), ("max_tokens", .max), ("mean_tokens", .mean),
                ("mean_sqrt_len_tokens", .meanSquareRootLength), ("weightedmean_tokens", .weightedMean),
                ("lasttoken", .lastToken),
            ]
            for (key, pooling) in keys where try reader.flag("pooling_mode_\(key)", default: false) {
                poolings.append(pooling)
            }
        }
        includesPrompt = try reader.flag("include_prompt", default: true)
        guard !poolings.isEmpty else {
            throw MoruError(
                .modelConfiguration, "\(path): no pooling is switched on",
                remedy: "restore the file that came with the model")
        }
    }

    private static func dense(_ folder: String) throws(MoruError) -> Step {
        let path = folder + "/config.json"
        let reader = ConfigurationReader(json: try JSON.parse(file: path), source: path)
        let weights = Weights(CheckpointWeights(try TensorDirectory(path: folder)))
        let layer = try weights.linear(
            "linear", inputs: try reader.size("in_features"), outputs: try reader.size("out_features"),
            bias: try reader.flag("bias", default: true))
        let name = try reader.text("activation_function") ?? "torch.nn.modules.activation.Tanh"
        let type = name.split(separator: ".").last.map(String.init) ?? name
        if type == "Identity" { return .dense(layer, nil) }
        guard let activation = activations.first(where: { $0.name == type })?.function else {
            throw reader.unsupported(
                "activation_function",
                remedy: "supported are Identity, \(activations.map(\.name).joined(separator: ", "))")
        }
        return .dense(layer, activation)
    }

    private static let activations: [(name: String, function: Activation)] = [
        ("Tanh", .tanh), ("ReLU", .relu), ("GELU", .gelu), ("SiLU", .silu),
    ]

    /// `sentence_bert_config.json` and its namesakes of other architectures.
    private mutating func readLimits(_ folder: String) throws(MoruError) {
        let names = try FileSystem.list(folder).filter { $0.hasPrefix("sentence_") && $0.hasSuffix("_config.json") }
        guard let name = names.sorted().first else { return }
        let json = try JSON.parse(file: "\(folder)/\(name)")
        let reader = ConfigurationReader(json: json, source: "\(folder)/\(name)")
        if let limit = json["max_seq_length"], !limit.isNull { maximumTokens = try reader.size("max_seq_length") }
        lowercases = try reader.flag("do_lower_case", default: false)
    }

    private mutating func readSettings(_ path: String) throws(MoruError) {
        guard FileSystem.exists(path) else { return }
        let json = try JSON.parse(file: path)
        let reader = ConfigurationReader(json: json, source: path)
        let named = json["prompts"]?.object ?? JSONObject()
        for (name, value) in named.members {
            guard let text = value.string else { throw reader.unexpected("prompts.\(name)", value, "a string") }
            prompts[name] = text
        }
        guard let name = json["default_prompt_name"], !name.isNull else { return }
        guard let text = name.string, prompts[text] != nil else {
            throw reader.unexpected("default_prompt_name", name, "the name of a prompt")
        }
        defaultPrompt = text
    }

    /// Writes the modules beside a network in a directory.
    func write(to directory: String, hiddenSize: Int, contextLength: Int) throws {
        var modules: [JSON] = []
        func add(_ type: String, _ folder: String) {
            let index = modules.count
            modules.append([
                "idx": .int(index), "name": .string("\(index)"), "path": .string(folder),
                "type": .string("sentence_transformers.models.\(type)"),
            ])
        }
        func write(_ json: JSON, _ name: String) throws {
            try FileSystem.write(json.text(pretty: true).utf8, to: "\(directory)/\(name)")
        }
        add("Transformer", "")
        try FileSystem.createDirectory("\(directory)/1_Pooling")
        add("Pooling", "1_Pooling")
        func has(_ pooling: Pooling) -> JSON { .bool(poolings.contains(pooling)) }
        try write(
            [
                "word_embedding_dimension": .int(hiddenSize), "pooling_mode_cls_token": has(.cls),
                "pooling_mode_mean_tokens": has(.mean), "pooling_mode_max_tokens": has(.max),
                "pooling_mode_mean_sqrt_len_tokens": has(.meanSquareRootLength),
                "pooling_mode_weightedmean_tokens": has(.weightedMean), "pooling_mode_lasttoken": has(.lastToken),
                "include_prompt": .bool(includesPrompt),
            ], "1_Pooling/config.json")
        for step in steps {
            switch step {
            case .normalize: add("Normalize", "\(modules.count)_Normalize")
            case .dense(let layer, let activation):
                let folder = "\(modules.count)_Dense"
                add("Dense", folder)
                try FileSystem.createDirectory("\(directory)/\(folder)")
                let name = Self.activations.first { $0.function == activation }?.name
                try write(
                    [
                        "in_features": .int(layer.inputs), "out_features": .int(layer.outputs),
                        "bias": .bool(layer.bias != nil),
                        "activation_function": .string(
                            name.map { "torch.nn.modules.activation.\($0)" } ?? "torch.nn.modules.linear.Identity"),
                    ], "\(folder)/config.json")
                var tensors = [("linear.weight", layer.weight.value.converted(to: .f32))]
                if let bias = layer.bias { tensors.append(("linear.bias", bias.value)) }
                try Safetensors.write(tensors, to: "\(directory)/\(folder)/model.safetensors")
            }
        }
        try write(.array(modules), Self.listName)
        try write(
            [
                "max_seq_length": .int(min(maximumTokens ?? contextLength, contextLength)),
                "do_lower_case": .bool(lowercases),
            ], "sentence_bert_config.json")
        try write(
            [
                "prompts": .object(JSONObject(prompts.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) })),
                "default_prompt_name": defaultPrompt.map { .string($0) } ?? nil, "similarity_fn_name": "cosine",
            ], Self.settingsName)
    }
}
