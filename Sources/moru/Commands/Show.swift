import ArgumentParser
import MoruBase
import MoruModels
import MoruStore

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

    func run() throws {
        let loaded = try model.load()
        let facts = loaded.model.facts
        let entry = Catalog.entries.first { $0.name == model.model.lowercased() }
        let rows: [(key: String, label: String, value: JSON, text: String)] = [
            ("architecture", "architecture", .string(facts.architecture), facts.architecture),
            (
                "parameters", "parameters", .int(loaded.model.parameterCount), Format.count(loaded.model.parameterCount)
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
                "chat_template", "chat template", .bool(loaded.chatTemplate != nil),
                loaded.chatTemplate == nil ? "none: ChatML is used" : "its own"
            ),
            (
                "license", "licence", (loaded.license ?? entry?.license).map { .string($0) } ?? .null,
                loaded.license ?? entry?.license ?? "not stated in its files"
            ),
            ("path", "path", .string(loaded.path), loaded.path),
        ]
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
