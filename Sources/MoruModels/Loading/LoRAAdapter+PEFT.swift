import MoruBase
import MoruNN
import MoruTensor

extension LoRAAdapter {
    private static let prefix = "base_model.model."

    /// Writes the adapter in PEFT's layout: `adapter_config.json` and `adapter_model.safetensors`.
    ///
    /// - Parameters:
    ///   - directory: Replaced whole once everything is written.
    ///   - baseModel: The base model's name or path, which PEFT shows and loads.
    /// - Throws: What the file system throws; the directory is then untouched.
    public func save(to directory: String, baseModel: String) throws {
        let config: JSON = [
            "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": .string(baseModel),
            "r": .int(configuration.rank), "lora_alpha": .double(Double(configuration.alpha)),
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
        let configuration = try readConfiguration(try JSON.parse(file: configPath), source: configPath)
        let file = try SafetensorsFile(path: directory + "/adapter_model.safetensors")
        var pairs: [String: LoRAPair] = [:]
        var used = 0
        for layer in model.linears {
            let (nameA, nameB) = ("\(layer.path).lora_A.weight", "\(layer.path).lora_B.weight")
            guard file.info(prefix + nameA) != nil || file.info(prefix + nameB) != nil else { continue }
            func parameter(_ name: String, _ shape: [Int]) throws(MoruError) -> Parameter {
                let tensor = try file.tensor(prefix + name).converted(to: .f32)
                guard tensor.shape == shape else {
                    throw MoruError(
                        .adapterMismatch,
                        "\(file.path): \(prefix + name) has shape \(tensor.shape), the model needs \(shape)",
                        remedy: "load the adapter with the base model it was trained on")
                }
                guard tensor.isFinite else {
                    throw MoruError(.weightsNotFinite, "\(file.path): \(prefix + name) holds numbers that are not finite")
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
                .adapterMismatch, "\(file.path): \(stray) belongs to no linear layer of the model",
                remedy: "load the adapter with the base model it was trained on")
        }
        return LoRAAdapter(configuration: configuration, pairs: pairs)
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
        try refuse("use_dora", json["use_dora"]?.bool == true)
        try refuse("fan_in_fan_out", json["fan_in_fan_out"]?.bool == true)
        try refuse("modules_to_save", json["modules_to_save"]?.array?.isEmpty == false)
        try refuse("rank_pattern", json["rank_pattern"]?.object?.isEmpty == false)
        try refuse("alpha_pattern", json["alpha_pattern"]?.object?.isEmpty == false)
        let targets: [String]
        if let names = json["target_modules"]?.array {
            targets = names.compactMap(\.string)
        } else {
            targets = try reader.text("target_modules").map { [$0] } ?? []
        }
        return LoRAConfiguration(
            rank: try reader.size("r"), alpha: Float(try reader.number("lora_alpha")),
            dropout: Float(try reader.number("lora_dropout", default: 0)),
            targets: targets,
            usesRankStabilization: try reader.flag("use_rslora", default: false))
    }
}
