import Foundation
import MoruBase
import MoruNN
import MoruTensor
import MoruText

extension PretrainedModel {
    /// Opens a model: a Hugging Face directory, a GGUF file, or a directory that holds one GGUF file.
    ///
    /// Weights are mapped into memory and read when first used.
    ///
    /// - Throws: ``MoruError/Code/modelNotFound``, ``MoruError/Code/modelUnsupported``,
    ///   ``MoruError/Code/modelConfiguration``, ``MoruError/Code/tokenizerMismatch``, or what the formats throw.
    public static func load(_ path: String) throws(MoruError) -> PretrainedModel { try load(path, packsAhead: false) }

    /// Opens a model; see ``load(_:)``.
    ///
    /// - Parameter packsAhead: Whether quantised weights are brought into the layout of generation on another thread from
    ///   now on: for whoever generates at once and would otherwise wait for that.
    public static func load(_ path: String, packsAhead: Bool) throws(MoruError) -> PretrainedModel {
        Tokenizer.prepare()
        let loaded: PretrainedModel
        switch try ModelLocation(path) {
        case .gguf(let file): loaded = try load(gguf: file, packsAhead)
        case .directory(let directory): loaded = try load(directory: directory)
        }
        try checkTokenizer(loaded.tokenizer, loaded.model.facts, path: loaded.path)
        if let stray = loaded.generationDefaults.endIDs.first(where: { loaded.tokenizer.piece($0) == nil }) {
            throw MoruError(
                .tokenizerMismatch,
                "\(loaded.path): the model ends with the id \(stray) (eos_token_id), which its tokenizer of "
                    + "\(loaded.tokenizer.vocabularySize) ids does not have",
                remedy: "use the tokenizer that came with this model")
        }
        return loaded
    }

    /// Refuses a tokenizer with ids that the model has no row for.
    static func checkTokenizer(
        _ tokenizer: Tokenizer, _ facts: TextModelFacts, path: String
    ) throws(MoruError) {
        let (known, rows) = (tokenizer.vocabularySize, facts.vocabularySize)
        guard known <= rows else {
            throw MoruError(
                .tokenizerMismatch, "\(path): the tokenizer has \(known) ids, the model only \(rows)",
                remedy: "use the tokenizer that came with this model")
        }
    }

    private static func load(directory: String) throws(MoruError) -> PretrainedModel {
        let configPath = directory + "/config.json"
        let json = try JSON.parse(file: configPath)
        try refuseOtherKinds(json, source: configPath)
        let source = try TensorDirectory(path: directory)
        let weights = CheckpointWeights(source)
        let model = try LanguageModels.build(json, source: configPath, Weights(weights))
        try weights.checkBlocksAreUsed()
        let (tokenizer, tokenizerConfig) = try Tokenizer.load(directory: directory)
        var template: ChatTemplate?
        let tokenizerConfigPath = directory + "/tokenizer_config.json"
        if let source = try templateSource(tokenizerConfig?["chat_template"], source: tokenizerConfigPath) {
            template = try ChatTemplate(source, name: "\(tokenizerConfigPath), chat_template")
        }
        let templatePath = directory + "/chat_template.jinja"
        if FileSystem.exists(templatePath) {
            template = try ChatTemplate(FileSystem.readText(templatePath), name: templatePath)
        }
        return PretrainedModel(
            model: model, tokenizer: tokenizer, chatTemplate: template,
            generationDefaults: try GenerationDefaults(directory: directory, config: json, tokenizer: tokenizer),
            path: directory, storageDescription: source.storageDescription, license: license(directory: directory))
    }

    /// Refuses a model that has no next token to predict.
    private static func refuseOtherKinds(_ config: JSON, source: String) throws(MoruError) {
        if let type = config["model_type"]?.string, Encoders.architectures.contains(type) {
            throw MoruError(
                .modelKind, "\(source): \(type) is an encoder, which turns texts into vectors and generates none",
                remedy: "use it with moru embed or, with a head, moru classify or moru extract; "
                    + "or name a language model")
        }
        if let name = config["architectures"]?[0]?.string, name.hasSuffix("Classification") {
            throw MoruError(
                .modelKind, "\(source): \(name) is a classifier: its head gives labels and no next token",
                remedy: "use it with moru classify or moru extract, or name the language model that it was made from")
        }
    }

    /// The template of `tokenizer_config.json`: a string, or the one named `default` of a list.
    private static func templateSource(_ value: JSON?, source: String) throws(MoruError) -> String? {
        guard let value else { return nil }
        if let text = value.string { return text }
        let named = value.array?.first { $0["name"]?.string == "default" } ?? value[0]
        guard let text = named?["template"]?.string else {
            throw ConfigurationReader(json: nil, source: source)
                .unexpected("chat_template", value, "a string or a list of named templates")
        }
        return text
    }

    /// The licence that the model card's front matter names.
    static func license(directory: String) -> String? {
        guard let card = try? FileSystem.readText(directory + "/README.md") else { return nil }
        return card.split(separator: "\n").prefix(60).first { $0.hasPrefix("license:") }
            .map { $0.dropFirst("license:".count).trimmingCharacters(in: .whitespaces) }
    }

    private static func load(gguf path: String, _ packsAhead: Bool) throws(MoruError) -> PretrainedModel {
        let file = try GGUFFile(path: path)
        let model = try LanguageModels.build(file)
        if packsAhead { model.packAhead() }
        let tokenizer = try Tokenizer(metadata: file.metadata, source: path)
        var template: ChatTemplate?
        if let source = file.metadata["tokenizer.chat_template"]?.string {
            template = try ChatTemplate(source, name: "\(path), tokenizer.chat_template")
        }
        return PretrainedModel(
            model: model, tokenizer: tokenizer, chatTemplate: template,
            generationDefaults: GenerationDefaults(endIDs: tokenizer.endIDs), path: path,
            storageDescription: "GGUF \(file.storageName)", license: file.metadata["general.license"]?.string)
    }
}

extension LanguageModel {
    /// Packs quantised weights on another thread, in the order in which a step reads them. Experts, of which a step reads
    /// few, are left to their first use.
    fileprivate func packAhead() {
        guard !linears.contains(where: { $0.path.contains(".experts.") }) else { return }
        let weights = linears.map(\.weight.value) + [outputProjection.value]
        Task.detached { for weight in weights { weight.packForFewRows() } }
    }
}

/// What a path to a model turns out to be.
enum ModelLocation {
    case directory(String)
    case gguf(String)

    init(_ path: String) throws(MoruError) {
        guard FileSystem.exists(path) else {
            throw MoruError(
                .modelNotFound, "\(path) does not exist",
                remedy: "moru models lists the models on this machine, moru pull downloads more")
        }
        guard FileSystem.isDirectory(path) else {
            guard path.lowercased().hasSuffix(".gguf") || Self.beginsLikeGGUF(path) else {
                throw MoruError(
                    .modelNotFound, "\(path) is not a model",
                    remedy: "name a directory in Hugging Face layout or a .gguf file")
            }
            self = .gguf(path)
            return
        }
        // An adapter with a head has a configuration too, and no model
        if FileSystem.exists(path + "/config.json"), !FileSystem.exists(path + "/adapter_config.json") {
            self = .directory(path)
            return
        }
        let files = try FileSystem.list(path).filter { $0.lowercased().hasSuffix(".gguf") }
        guard files.count <= 1 else {
            throw MoruError(
                .modelNotFound, "\(path) holds several GGUF files: \(files.joined(separator: ", "))",
                remedy: "name one of them")
        }
        guard let file = files.first else {
            let isAdapter = FileSystem.exists(path + "/adapter_config.json")
            throw MoruError(
                .modelNotFound, "\(path) holds neither a config.json nor a GGUF file",
                remedy: isAdapter
                    ? "it holds an adapter: name its base model as the model, and this as the adapter"
                    : "name a directory in Hugging Face layout or a .gguf file")
        }
        self = .gguf(path + "/" + file)
    }

    /// Some stores name their files by a hash.
    private static func beginsLikeGGUF(_ path: String) -> Bool {
        guard let file = try? MappedFile(path: path) else { return false }
        return withExtendedLifetime(file) { file.bytes.starts(with: "GGUF".utf8) }
    }
}

extension GenerationDefaults {
    /// Reads `generation_config.json`, and the end-of-sequence ids that `config.json` and the tokenizer add.
    init(directory: String, config: JSON, tokenizer: Tokenizer) throws(MoruError) {
        let path = directory + "/generation_config.json"
        let json: JSON = FileSystem.exists(path) ? try JSON.parse(file: path) : [:]
        let reader = ConfigurationReader(json: json, source: path)
        var ids = tokenizer.endIDs
        let configured = try ConfigurationReader(json: config, source: directory + "/config.json")
            .tokenIDs("eos_token_id")
        for id in try reader.tokenIDs("eos_token_id") + configured where !ids.contains(id) { ids.append(id) }
        func number(_ key: String, in range: ClosedRange<Double>) throws(MoruError) -> Float? {
            guard let value = json[key] else { return nil }
            let number = try reader.number(key)
            guard range.contains(number) else {
                throw reader.unexpected(key, value, "from \(range.lowerBound) to \(range.upperBound)")
            }
            return Float(number)
        }
        let topK = try number("top_k", in: 0...1e9)
        self.init(
            endIDs: ids, samples: try json["do_sample"] == nil ? nil : reader.flag("do_sample", default: false),
            temperature: try number("temperature", in: 0...1e6), topK: topK.map { Int($0) },
            topP: try number("top_p", in: 0...1),
            repetitionPenalty: try number("repetition_penalty", in: 1e-6...1e6))
    }
}

extension Tokenizer {
    /// The end-of-sequence id, with the ids of the end-of-turn tokens that chat models close their turns with.
    var endIDs: [Int32] {
        var ids = endOfSequence.map { [$0] } ?? []
        for piece in ["<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>"] {
            if let id = id(of: piece), isSpecial(id), !ids.contains(id) { ids.append(id) }
        }
        return ids
    }
}

extension TensorDirectory {
    /// The formats that the weights are stored in, and what of them is left out, for people.
    var storageDescription: String {
        let formats = Set(names.compactMap { info($0)?.format }).sorted().joined(separator: ", ")
        let hasVision = names.contains { $0.contains("vision_tower.") }
        return "safetensors \(formats)" + (hasVision ? ", the text part alone: images cannot be read" : "")
    }
}

extension GGUFFile {
    /// The format that holds most of the file, in the usual spelling.
    var storageName: String {
        var bytes: [String: Int] = [:]
        for name in names {
            if let info = info(name) { bytes[info.format, default: 0] += info.byteRange.count }
        }
        return bytes.max { $0.value < $1.value }?.key ?? "empty"
    }
}
