import MoruBase
import MoruNN
import MoruTensor

extension LoRAAdapter {
    private static let prefix = "base_model.model."

    /// Writes the adapter in PEFT's layout: `adapter_config.json` and `adapter_model.safetensors`.
    ///
    /// - Parameters:
    ///   - directory: Replaced whole once everything is written; what is there must be an adapter or empty.
    ///   - baseModel: The base model's name or path, which PEFT shows and loads.
    /// - Throws: ``MoruError/Code/directoryOccupied``, or what the file system throws; the directory is then untouched.
    public func save(to directory: String, baseModel: String) throws {
        try ModelDirectory.checkReplaceable(directory, marker: "adapter_config.json")
        let alpha = Double(configuration.alpha)
        let config: JSON = [
            "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": .string(baseModel),
            "r": .int(configuration.rank), "lora_alpha": Int(exactly: alpha).map { .int($0) } ?? .double(alpha),
            "lora_dropout": .double(Double(configuration.dropout)),
            "target_modules": .array(configuration.targets.map { .string($0) }), "bias": "none",
            "fan_in_fan_out": false, "use_rslora": .bool(configuration.usesRankStabilization),
            "init_lora_weights": true, "inference_mode": true,
        ]
        let tensors = parameters.map { (name: Self.prefix + $0.path, tensor: $0.value) }
        try FileSystem.writeDirectoryAtomically(to: directory) { temporary in
            try Safetensors.write(tensors, to: temporary + "/adapter_model.safetensors")
            try FileSystem.write(config.text(pretty: true).utf8, to: temporary + "/adapter_config.json")
        }
    }

    /// Loads an adapter in PEFT's layout for a model.
    ///
    /// - Throws: ``MoruError/Code/adapterUnsupported`` for what Moru does not do, ``MoruError/Code/adapterMismatch``
    ///   when it does not fit the model, or what the formats throw.
    public static func load(from directory: String, for model: any LanguageModel) throws(MoruError) -> LoRAAdapter {
        let configPath = directory + "/adapter_config.json"
        let tensorPath = directory + "/adapter_model.safetensors"
        for path in [configPath, tensorPath] where !FileSystem.exists(path) {
            let isPickled = FileSystem.exists(directory + "/adapter_model.bin")
            throw MoruError(
                .fileNotFound, "\(path) does not exist",
                remedy: isPickled
                    ? "adapter_model.bin is not read: load the adapter with PEFT and save it again as safetensors"
                    : "name the directory of an adapter, with adapter_config.json and adapter_model.safetensors")
        }
        let json = try JSON.parse(file: configPath)
        var configuration = try readConfiguration(json, source: configPath)
        let file = try SafetensorsFile(path: tensorPath)
        var pairs: [String: LoRAPair] = [:]
        var used = 0
        for layer in model.linears {
            let (nameA, nameB) = ("\(layer.path).lora_A.weight", "\(layer.path).lora_B.weight")
            guard file.info(prefix + nameA) != nil || file.info(prefix + nameB) != nil else { continue }
            func parameter(_ name: String, _ shape: [Int]) throws(MoruError) -> Parameter {
                guard let info = file.info(prefix + name), info.dtype?.isFloatingPoint != false else {
                    throw MoruError(
                        .adapterMismatch, "\(file.path): \(prefix + name) is missing or holds integers",
                        remedy: "the file is damaged: download or write it again")
                }
                guard info.shape == shape else {
                    throw MoruError(
                        .adapterMismatch,
                        "\(file.path): \(prefix + name) has shape \(info.shape), the model needs \(shape)",
                        remedy: "load the adapter with the base model it was trained on")
                }
                let tensor = try file.tensor(prefix + name).converted(to: .f32)
                guard tensor.isFinite else {
                    throw MoruError(
                        .weightsNotFinite, "\(file.path): \(prefix + name) holds numbers that are not finite",
                        remedy: "train the adapter again, with a lower learning rate, or take an earlier checkpoint")
                }
                return Parameter(name, tensor)
            }
            pairs[layer.path] = LoRAPair(
                a: try parameter(nameA, [configuration.rank, layer.inputs]),
                b: try parameter(nameB, [layer.outputs, configuration.rank]), scale: configuration.scale,
                dropout: configuration.dropout)
            used += 2
        }
        guard used == file.names.count, used > 0 else {
            let known = Set(pairs.values.flatMap { [prefix + $0.a.path, prefix + $0.b.path] })
            let stray = file.names.first { !known.contains($0) } ?? "(no tensors)"
            throw MoruError(
                .adapterMismatch, "\(file.path): \(stray) belongs to no linear layer inside the model's blocks",
                remedy: "load the adapter with the base model it was trained on; adapters of embeddings do not load")
        }
        try checkTargets(&configuration, json, pairs, model.linears, source: configPath)
        return LoRAAdapter(configuration: configuration, pairs: pairs)
    }

    /// Makes the targets say which layers are adapted: names that also fit others, a pattern, or a choice of layers,
    /// become the layers' paths.
    ///
    /// - Throws: ``MoruError/Code/adapterMismatch`` when a layer that the configuration names has no tensors.
    private static func checkTargets(
        _ configuration: inout LoRAConfiguration, _ json: JSON, _ pairs: [String: LoRAPair], _ layers: [Linear],
        source: String
    ) throws(MoruError) {
        let isExact = json["target_modules"]?.array != nil
        let isWhole = ["layers_to_transform", "layers_pattern", "exclude_modules"].allSatisfy { json[$0] == nil }
        let named = layers.filter { layer in configuration.targets.contains { layer.matches($0) } }
        let lacking = named.first { pairs[$0.path] == nil }
        if isExact, isWhole, let lacking {
            throw MoruError(
                .adapterMismatch,
                "\(source): target_modules names \(lacking.path), which has no tensors in the adapter",
                remedy: "load the adapter with the base model it was trained on")
        }
        if named.count != pairs.count || lacking != nil { configuration.targets = pairs.keys.sorted() }
    }

    /// What changes an adapter's arithmetic or its tensors when it is there and neither false nor empty.
    private static let changingKeys = [
        "use_dora", "fan_in_fan_out", "modules_to_save", "rank_pattern", "alpha_pattern", "lora_bias",
        "trainable_token_indices", "target_parameters", "layer_replication", "alora_invocation_tokens", "use_qalora",
        "use_bdlora", "arrow_config", "kasa_config", "monteclora_config", "megatron_config",
    ]

    private static func isAbsent(_ value: JSON?) -> Bool {
        switch value {
        case nil, .null, .bool(false): true
        case .array(let elements): elements.isEmpty
        case .object(let members): members.isEmpty
        default: false
        }
    }

    private static func readConfiguration(_ json: JSON, source: String) throws(MoruError) -> LoRAConfiguration {
        let reader = ConfigurationReader(json: json, source: source)
        func refuse(_ key: String, _ isRefused: Bool) throws(MoruError) {
            guard isRefused else { return }
            throw MoruError(
                .adapterUnsupported, "\(source): \(key) = \(json[key]?.text() ?? "null") is not supported",
                remedy: "plain LoRA adapters of linear layers load; merge others into the base model with PEFT first")
        }
        try refuse("peft_type", json["peft_type"]?.string != "LORA")
        try refuse("bias", (json["bias"]?.string ?? "none") != "none")
        for key in changingKeys { try refuse(key, !isAbsent(json[key])) }
        // Other starts than these change the base model's weights too, which the adapter alone does not tell
        let starts: [JSON] = [true, false, "gaussian", "eva", "orthogonal", "mica"]
        try refuse("init_lora_weights", json["init_lora_weights"].map { !starts.contains($0) } ?? false)
        var targets: [String] = []
        for target in json["target_modules"]?.array ?? json["target_modules"].map({ [$0] }) ?? [] {
            guard let name = target.string else { throw reader.unexpected("target_modules", target, "names of layers") }
            targets.append(name)
        }
        let dropout = try reader.number("lora_dropout", default: 0)
        guard 0..<1 ~= dropout else { throw reader.unexpected("lora_dropout", .double(dropout), "from 0 to below 1") }
        return LoRAConfiguration(
            rank: try reader.size("r"), alpha: Float(try reader.number("lora_alpha")), dropout: Float(dropout),
            targets: targets,
            usesRankStabilization: try reader.flag("use_rslora", default: false))
    }
}
