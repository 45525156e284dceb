import MoruBase
import MoruNN
import MoruTensor

extension LoRAAdapter {
    /// Loads a LoRA or DoRA adapter in PEFT's layout for a model.
    ///
    /// - Throws: ``MoruError/Code/adapterUnsupported`` for what Moru does not do, ``MoruError/Code/adapterMismatch``
    ///   when it does not fit the model, or what the formats throw.
    public static func load(from directory: String, for model: any TextModel) throws(MoruError) -> LoRAAdapter {
        try LoRAAdapter(PEFTFile(directory), for: model)
    }

    convenience init(_ file: PEFTFile, for model: any TextModel) throws(MoruError) {
        var configuration = try Self.configuration(file)
        try file.checkOrientation(for: model)
        var pairs: [String: LoRAPair] = [:]
        for layer in model.linears {
            let (nameA, nameB) = ("\(layer.path).lora_A.weight", "\(layer.path).lora_B.weight")
            guard file.has(nameA) || file.has(nameB) else { continue }
            let magnitude =
                configuration.decomposesWeights
                ? try file.parameter(LoRAPair.magnitudeName(layer.path), shape: [layer.outputs]) : nil
            pairs[layer.path] = LoRAPair(
                a: try file.parameter(nameA, shape: [configuration.rank, layer.inputs]),
                b: try file.parameter(nameB, shape: [layer.outputs, configuration.rank]), magnitude: magnitude,
                scale: configuration.scale, dropout: configuration.dropout)
        }
        try file.requireAllUsed(pairs.values.flatMap(\.parameters))
        configuration.targets = try file.targets("target_modules", adapted: Set(pairs.keys), among: model.linears)
        self.init(configuration: configuration, pairs: pairs)
    }

    /// What changes an adapter's arithmetic or its tensors when it is there and neither false nor empty.
    private static let changingKeys = [
        "modules_to_save", "rank_pattern", "alpha_pattern", "lora_bias", "trainable_token_indices",
        "target_parameters", "layer_replication", "alora_invocation_tokens", "use_qalora", "use_bdlora",
        "arrow_config", "kasa_config", "monteclora_config", "megatron_config",
    ]

    private static func configuration(_ file: PEFTFile) throws(MoruError) -> LoRAConfiguration {
        let reader = file.reader
        if file.kind != "LORA" { throw file.unsupported("peft_type") }
        if (file.json["bias"]?.string ?? "none") != "none" { throw file.unsupported("bias") }
        try file.requireAbsent(changingKeys)
        // Other starts than these change the base model's weights too, which the adapter alone does not tell
        let starts: [JSON] = [true, false, "gaussian", "eva", "orthogonal", "mica"]
        if let start = file.json["init_lora_weights"], !starts.contains(start) {
            throw file.unsupported("init_lora_weights")
        }
        let dropout = try reader.number("lora_dropout", default: 0)
        guard 0..<1 ~= dropout else { throw reader.unexpected("lora_dropout", .double(dropout), "from 0 to below 1") }
        return LoRAConfiguration(
            rank: try reader.size("r"), alpha: Float(try reader.number("lora_alpha")), dropout: Float(dropout),
            targets: try file.names("target_modules"),
            usesRankStabilization: try reader.flag("use_rslora", default: false),
            decomposesWeights: try reader.flag("use_dora", default: false))
    }
}
