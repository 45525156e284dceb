import ArgumentParser
import MoruBase
import MoruModels
import MoruStore
import MoruText

/// `moru show`: what a model is.
struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print a model's architecture, size, context, storage and licence.",
        discussion: """
            Examples:
              moru show smollm2-135m-instruct
              moru show ./my-model --json
            """)

    @OptionGroup var model: ModelArgument
    @OptionGroup var output: OutputOptions

    /// What is said of a model of any kind.
    private struct Opened {
        let base: any TextModel
        let tokenizer: Tokenizer
        let path, storageDescription: String
        let license: String?
        let template: ChatTemplate?
    }

    private func open() throws -> Opened {
        do {
            let loaded = try model.load()
            return Opened(
                base: loaded.model, tokenizer: loaded.tokenizer, path: loaded.path,
                storageDescription: loaded.storageDescription, license: loaded.license, template: loaded.chatTemplate)
        } catch let error as MoruError where error.code == .modelKind {
            let loaded = try PretrainedTextModel.load(ModelArgument.path(of: model.model))
            return Opened(
                base: loaded.base, tokenizer: loaded.tokenizer, path: loaded.path,
                storageDescription: loaded.storageDescription, license: loaded.license, template: nil)
        }
    }

    func run() throws {
        let loaded = try open()
        let facts = loaded.base.facts
        let entry = Catalog.entries.first { $0.name == model.model.lowercased() }
        var rows: [(key: String, label: String, value: JSON, text: String)] = [
            ("architecture", "architecture", .string(facts.architecture), facts.architecture),
            (
                "parameters", "parameters", .int(loaded.base.parameterCount), Format.count(loaded.base.parameterCount)
            ),
            ("layers", "layers", .int(facts.layerCount), "\(facts.layerCount)"),
            ("hidden_size", "hidden size", .int(facts.hiddenSize), "\(facts.hiddenSize)"),
            (
                "kv_heads", "key/value heads", .int(facts.kvHeads), "\(facts.kvHeads) of \(facts.headDim) elements"
            ),
            ("context_length", "context", .int(facts.contextLength), "\(facts.contextLength) tokens"),
            (
                "vocabulary", "vocabulary", .int(loaded.tokenizer.vocabularySize),
                "\(loaded.tokenizer.vocabularySize) tokens"
            ),
            ("storage", "stored as", .string(loaded.storageDescription), loaded.storageDescription),
            (
                "chat_template", "chat template", .bool(loaded.template != nil),
                loaded.base is any LanguageModel
                    ? loaded.template == nil ? "none: ChatML is used" : "its own" : "none: it generates no text"
            ),
            (
                "license", "licence", (loaded.license ?? entry?.license).map { .string($0) } ?? .null,
                loaded.license ?? entry?.license ?? "not stated in its files"
            ),
            ("path", "path", .string(loaded.path), loaded.path),
        ]
        if FileSystem.isDirectory(loaded.path), let modules = try SentenceModules(directory: loaded.path) {
            let count = modules.dimensions(hiddenSize: facts.hiddenSize)
            let names = modules.poolings.map(\.rawValue).joined(separator: ", ")
            rows.insert(("embedding_size", "embeddings", .int(count), "\(count) elements, by \(names)"), at: 4)
        }
        if output.json {
            Terminal.result(JSON.object(JSONObject(rows.map { ($0.key, $0.value) })).text(pretty: true))
            return
        }
        let width = rows.map(\.label.count).max() ?? 0
        for row in rows {
            Terminal.result(row.label + String(repeating: " ", count: width - row.label.count + 2) + row.text)
        }
    }
}
