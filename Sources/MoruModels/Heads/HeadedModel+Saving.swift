import MoruBase
import MoruNN
import MoruTensor

extension HeadedModel {
    /// What `config.json` says of the model with its head.
    var configurationJSON: JSON {
        var config = trunk.configuration.object ?? JSONObject()
        let name = trunk.architecture ?? base.configurationJSON["architectures"]?[0]?.string ?? ""
        let ends = ["For", "LMHead", "Model"].compactMap { name.firstRange(of: $0)?.lowerBound }
        config = configuration.added(to: config, family: String(name[..<(ends.min() ?? name.endIndex)]))
        // Without it transformers cannot tell where the texts of a batch end
        if JSON.object(config)["pad_token_id"] == nil, let id = tokenizer.padding ?? tokenizer.endOfSequence {
            config["pad_token_id"] = .int(Int(id))
        }
        return .object(config)
    }

    /// Writes the model with its head as a directory that transformers loads (`AutoModelForSequenceClassification`,
    /// `AutoModelForTokenClassification`).
    ///
    /// - Parameters:
    ///   - directory: Replaced whole once everything is written; what is there must be a model or empty.
    ///   - dtype: How the weights are stored; nil keeps dense ones as they are and writes quantised ones as f32.
    /// - Throws: As ``PretrainedTextModel/save(to:head:configuration:dtype:maximumShardBytes:)``.
    public func save(to directory: String, dtype: DType? = nil) throws {
        precondition(adapter == nil, "a model with an adapter is saved as the adapter")
        let own = base.parameters
        let added = head.parameters.filter { parameter in !own.contains { $0 === parameter } }
        try trunk.save(to: directory, head: added, configuration: configurationJSON, dtype: dtype)
    }
}

extension Adapter {
    /// Writes the adapter in PEFT's layout, with a head that was trained in full beside it (`modules_to_save`), and
    /// beside them as `config.json` what transformers has to know of the head to load it.
    ///
    /// - Parameters:
    ///   - directory: Replaced whole once everything is written; what is there must be an adapter or empty.
    ///   - baseModel: The base model's name or path, which PEFT shows and loads.
    ///   - model: The model whose head it is.
    /// - Throws: As ``save(to:baseModel:)``.
    public func save(to directory: String, baseModel: String, withHeadOf model: HeadedModel) throws {
        let head = model.head
        var config = peftConfiguration(for: model.trunk)
        config["task_type"] = model.configuration.place == .sequence ? "SEQ_CLS" : "TOKEN_CLS"
        config["modules_to_save"] = .array(head.moduleNames.map { .string($0) })
        let prefix = PEFTFile.headPrefix(hasVirtualTokens: virtualTokens != nil)
        try write(
            to: directory, baseModel: baseModel, config, also: head.parameters.map { (prefix + $0.path, $0.value) },
            files: [("config.json", model.configurationJSON)])
    }

    /// What `adapter_config.json` says, with the sizes that PEFT asks for before virtual tokens and finds in few
    /// encoders' configurations.
    func peftConfiguration(for model: PretrainedTextModel) -> JSONObject {
        var config = peftConfiguration
        guard virtualTokens != nil, model.isEncoder else { return config }
        let facts = model.base.facts
        (config["num_layers"], config["num_attention_heads"]) = (.int(facts.layerCount), .int(facts.kvHeads))
        return config
    }
}

extension AdapterDirectory {
    /// Loads an adapter with the head that it brings along.
    ///
    /// What the head's outputs mean is taken from the adapter's `config.json` where there is one; PEFT writes none, so
    /// that the labels then have the names that the base model gives them, or numbers.
    ///
    /// - Throws: ``MoruError/Code/headMissing`` for an adapter without a head, or as ``load(from:for:)``.
    public static func load(
        from directory: String, forHeadOn trunk: PretrainedTextModel
    ) throws(MoruError) -> HeadedModel {
        var file = try PEFTFile(directory)
        let places: [String: HeadConfiguration.Place] = ["SEQ_CLS": .sequence, "TOKEN_CLS": .token]
        let prefix = PEFTFile.headPrefix(hasVirtualTokens: ["PROMPT_TUNING", "PREFIX_TUNING"].contains(file.kind))
        let facts = trunk.base.facts
        guard let place = file.json["task_type"]?.string.flatMap({ places[$0] }),
            let count = file.tensors.info(prefix + TextHead.outputName(place, for: facts))?.shape.first
        else {
            throw MoruError(
                .headMissing, "\(directory) is an adapter without a head that classifies",
                remedy: "use it with moru generate or chat, or tune one with objective: classification")
        }
        let configPath = directory + "/config.json"
        let config: JSON = FileSystem.exists(configPath) ? try JSON.parse(file: configPath) : trunk.configuration
        var configuration = try HeadConfiguration(config: config, place: place, source: configPath)
        if configuration.labels.count != count {
            configuration = HeadConfiguration(
                place, labels: (0..<count).map { "LABEL_\($0)" },
                problem: place == .sequence && count == 1 ? .regression : .singleLabel)
        }
        let source = CheckpointWeights(file.tensors) { CheckpointWeights.Entry(name: prefix + $0) }
        // PEFT leaves BERT's pooler to the base model unless it is told otherwise
        let head = try TextHead(
            configuration, for: trunk.base, Weights(source),
            takesPooler: !source.contains(TextHead.poolerPath + ".weight"))
        file.headNames = Set(head.parameters.map { prefix + $0.path })
        return HeadedModel(trunk, head, adapter: try load(file, for: trunk.base))
    }
}

extension PEFTFile {
    /// What stands before the names of a head's parameters: what acts on layers wraps the model once more.
    static func headPrefix(hasVirtualTokens: Bool) -> String { hasVirtualTokens ? "base_model." : layerPrefix }
}
