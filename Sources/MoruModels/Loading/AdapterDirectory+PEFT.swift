import MoruBase
import MoruNN
import MoruTensor

/// Adapters in PEFT's layout: a directory with `adapter_config.json` and `adapter_model.safetensors`.
public enum AdapterDirectory {
    /// Loads an adapter of any kind that Moru knows.
    ///
    /// - Throws: ``MoruError/Code/adapterUnsupported`` for what Moru does not do, ``MoruError/Code/adapterMismatch``
    ///   when it does not fit the model, or what the formats throw.
    public static func load(
        from directory: String, for model: any TextModel
    ) throws(MoruError) -> any Adapter {
        var file = try PEFTFile(directory)
        // What was learnt on `AutoModel` lacks what the network is called in a larger one
        let outer = PEFTFile.outerName(of: model)
        if !file.tensors.names.contains(where: { $0.hasPrefix(PEFTFile.layerPrefix + outer) }) {
            file.omittedName = outer
        }
        return try load(file, for: model)
    }

    static func load(_ file: PEFTFile, for model: any TextModel) throws(MoruError) -> any Adapter {
        switch file.kind {
        case "LORA": return try LoRAAdapter(file, for: model)
        case "IA3": return try IA3Adapter(file, for: model)
        case "PROMPT_TUNING": return try PromptTuningAdapter(file, for: model)
        case "PREFIX_TUNING": return try PrefixTuningAdapter(file, for: model)
        default: throw file.unsupported("peft_type")
        }
    }
}

extension Adapter {
    /// Writes the adapter in PEFT's layout.
    ///
    /// - Parameters:
    ///   - directory: Replaced whole once everything is written; what is there must be an adapter or empty.
    ///   - baseModel: The base model's name or path, which PEFT shows and loads.
    /// - Throws: ``MoruError/Code/directoryOccupied``, or what the file system throws; the directory is then untouched.
    public func save(to directory: String, baseModel: String) throws {
        var config = peftConfiguration
        config["task_type"] = "CAUSAL_LM"
        try write(to: directory, baseModel: baseModel, config)
    }

    /// Writes the adapter, further tensors beside its own, and further files beside its two.
    func write(
        to directory: String, baseModel: String, _ configuration: JSONObject,
        also further: [Safetensors.NamedTensor] = [], files: [(name: String, content: JSON)] = [],
        name: (String) -> String = { $0 }, adding: (String) throws -> Void = { _ in }
    ) throws {
        try ModelDirectory.checkReplaceable(directory, marker: "adapter_config.json")
        var config = configuration
        config["base_model_name_or_path"] = .string(baseModel)
        config["inference_mode"] = true
        // What acts on layers is named by them, what stands before a sequence is not
        let prefix = virtualTokens == nil ? PEFTFile.layerPrefix : ""
        let tensors = parameters.map { (name: prefix + name($0.path), tensor: $0.value) } + further
        let texts = ([("adapter_config.json", .object(config))] + files).map { ($0, $1.text(pretty: true)) }
        try FileSystem.writeDirectoryAtomically(to: directory) { temporary in
            try Safetensors.write(tensors, to: temporary + "/adapter_model.safetensors")
            for (name, text) in texts { try FileSystem.write(text.utf8, to: "\(temporary)/\(name)") }
            try adding(temporary)
        }
    }

    /// Refuses an adapter that was made for another model.
    ///
    /// - Throws: ``MoruError/Code/adapterMismatch``.
    package func check(fits model: any TextModel, linears: [String: Linear]) throws(MoruError) {
        for (path, adaptation) in layers.sorted(by: { $0.key < $1.key }) {
            guard let layer = linears[path] else {
                throw Self.misfit("the adapter adapts \(path), which this model does not have")
            }
            for (parameter, shape) in adaptation.shapes(in: layer) where parameter.value.shape != shape {
                throw Self.misfit(
                    "the adapter's \(parameter.path) has shape \(parameter.value.shape), the model needs \(shape)")
            }
        }
        guard let virtualTokens else { return }
        let found = virtualTokens.parameter.value.shape
        guard try model.shape(of: virtualTokens.kind, count: found[0]) == found else {
            throw Self.misfit("the adapter's virtual tokens \(found) do not fit the model")
        }
    }

    private static func misfit(_ message: String) -> MoruError {
        MoruError(.adapterMismatch, message, remedy: "use the adapter with the model that it was made for")
    }
}

/// The two files of an adapter, opened.
struct PEFTFile {
    static let layerPrefix = "base_model.model."

    let json: JSON
    let tensors: SafetensorsFile
    let reader: ConfigurationReader
    private let configPath: String
    /// The tensors that are a head's, where the adapter is read for one.
    var headNames: Set<String> = []
    /// What the network's layers are called by first in a model with more around it, such as `model.`, and not in the
    /// file.
    var omittedName = ""

    /// What the names of a network's layers begin with where it is part of a larger model: `model.` or `bert.`; empty
    /// for an encoder that stands alone.
    static func outerName(of model: any TextModel) -> String {
        guard let path = model.linears.first?.path, let end = path.firstIndex(of: ".") else { return "" }
        let first = path[...end]
        if model is any LanguageModel { return String(first) }
        let prefix = try? Encoders.prefix(of: model.configurationJSON, source: "config.json")
        return prefix.map { $0 + "." == first } == true ? String(first) : ""
    }

    /// What the file calls a parameter.
    func fileName(of name: String) -> String {
        Self.layerPrefix + (name.hasPrefix(omittedName) ? String(name.dropFirst(omittedName.count)) : name)
    }

    init(_ directory: String) throws(MoruError) {
        configPath = directory + "/adapter_config.json"
        let tensorPath = directory + "/adapter_model.safetensors"
        for path in [configPath, tensorPath] where !FileSystem.exists(path) {
            let isPickled = FileSystem.exists(directory + "/adapter_model.bin")
            throw MoruError(
                .fileNotFound, "\(path) does not exist",
                remedy: isPickled
                    ? "adapter_model.bin is not read: load the adapter with PEFT and save it again as safetensors"
                    : "name the directory of an adapter, with adapter_config.json and adapter_model.safetensors")
        }
        json = try JSON.parse(file: configPath)
        tensors = try SafetensorsFile(path: tensorPath)
        reader = ConfigurationReader(json: json, source: configPath)
    }

    /// The `peft_type`.
    var kind: String? { json["peft_type"]?.string }

    func unsupported(_ key: String) -> MoruError {
        MoruError(
            .adapterUnsupported, "\(configPath): \(key) = \(json[key]?.text() ?? "null") is not supported",
            remedy: "LoRA, DoRA, (IA)3, prompt tuning and prefix tuning load, without changes of other parameters; "
                + "merge others into the base model with PEFT first")
    }

    /// Refuses keys that change an adapter's arithmetic or its tensors when they are neither false nor empty.
    func requireAbsent(_ keys: [String]) throws(MoruError) {
        for key in keys where key != "modules_to_save" || headNames.isEmpty {
            switch json[key] {
            case nil, .null, .bool(false): continue
            case .array(let elements) where elements.isEmpty: continue
            case .object(let members) where members.isEmpty: continue
            default: throw unsupported(key)
            }
        }
    }

    /// Refuses `fan_in_fan_out` for a model whose checkpoint does not store its projections transposed.
    func checkOrientation(for model: any TextModel) throws(MoruError) {
        if model.transposedPaths.isEmpty { try requireAbsent(["fan_in_fan_out"]) }
    }

    /// A key's names: a list of them, or one pattern.
    func names(_ key: String) throws(MoruError) -> [String] {
        var names: [String] = []
        for value in json[key]?.array ?? json[key].map({ [$0] }) ?? [] {
            guard let name = value.string else { throw reader.unexpected(key, value, "names of layers") }
            names.append(name)
        }
        return names
    }

    /// A tensor in f32.
    func tensor(_ name: String, shape: [Int]) throws(MoruError) -> Tensor {
        guard let info = tensors.info(name), info.dtype?.isFloatingPoint != false else {
            throw MoruError(
                .adapterMismatch, "\(tensors.path): \(name) is missing or holds integers",
                remedy: "the file is damaged: download or write it again")
        }
        guard info.shape == shape else {
            throw MoruError(
                .adapterMismatch, "\(tensors.path): \(name) has shape \(info.shape), the model needs \(shape)",
                remedy: "load the adapter with the base model it was trained on")
        }
        let tensor = try tensors.tensor(name).converted(to: .f32)
        guard tensor.isFinite else {
            throw MoruError(
                .weightsNotFinite, "\(tensors.path): \(name) holds numbers that are not finite",
                remedy: "train the adapter again, with a lower learning rate, or take an earlier checkpoint")
        }
        return tensor
    }

    /// A parameter of a layer.
    func parameter(_ name: String, shape: [Int]) throws(MoruError) -> Parameter {
        Parameter(name, try tensor(fileName(of: name), shape: shape))
    }

    func has(_ name: String) -> Bool { tensors.info(fileName(of: name)) != nil }

    /// Refuses tensors that none of the parameters came from.
    func requireAllUsed(_ parameters: [Parameter]) throws(MoruError) {
        let known = Set(parameters.map { fileName(of: $0.path) }).union(headNames)
        let stray = tensors.names.first { !known.contains($0) }
        guard stray != nil || parameters.isEmpty else { return }
        throw MoruError(
            .adapterMismatch,
            "\(tensors.path): \(stray ?? "(no tensors)") belongs to no linear layer inside the model's blocks",
            remedy: "load the adapter with the base model it was trained on; adapters of embeddings do not load")
    }

    /// The names under a key, or the paths of the layers where the names would fit others too, as a pattern does, or a
    /// choice of layers.
    ///
    /// - Throws: ``MoruError/Code/adapterMismatch`` when a layer that the configuration names has no tensors.
    func targets(_ key: String, adapted: Set<String>, among layers: [Linear]) throws(MoruError) -> [String] {
        let names = try names(key)
        let named = layers.filter { layer in names.contains { layer.matches($0) } }
        let lacking = named.first { !adapted.contains($0.path) }
        let isExact = json[key]?.array != nil
        let isWhole = ["layers_to_transform", "layers_pattern", "exclude_modules"].allSatisfy { json[$0] == nil }
        if isExact, isWhole, let lacking {
            throw MoruError(
                .adapterMismatch, "\(configPath): \(key) names \(lacking.path), which has no tensors in the adapter",
                remedy: "load the adapter with the base model it was trained on")
        }
        return named.count == adapted.count && lacking == nil ? names : adapted.sorted()
    }
}
