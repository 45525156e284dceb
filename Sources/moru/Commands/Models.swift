import ArgumentParser
import MoruBase
import MoruStore

/// `moru models`: lists what is here and what can be pulled.
struct Models: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List the models on this machine, or those in the catalog.",
        discussion: """
            Examples:
              moru models
              moru models --catalog --json
              moru models --remove smollm2-135m-instruct
            """)

    @Flag(help: "List the catalog instead.")
    var catalog = false
    @Option(help: ArgumentHelp("Delete a model from this machine.", valueName: "model"))
    var remove: String?
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if catalog, remove != nil { throw ValidationError("--catalog and --remove exclude each other.") }
    }

    func run() throws {
        let store = ModelStore()
        if let remove {
            try store.remove(remove)
            Terminal.talk("removed \(remove)")
            let result: JSON = ["removed": .string(remove)]
            if output.json { Terminal.result(result.text(pretty: true)) }
            return
        }
        if catalog {
            try printCatalog()
        } else {
            try printStored(store)
        }
    }

    private func printStored(_ store: ModelStore) throws {
        let models = try store.models()
        if output.json {
            Terminal.result(JSON.array(models.map(\.json)).text(pretty: true))
            return
        }
        guard !models.isEmpty else {
            Terminal.talk("no models in \(store.modelsDirectory) yet")
            Terminal.talk("fetch one with: moru pull \(Catalog.defaultModel)")
            return
        }
        var table = Table(["name", "size", "architecture", "licence", "source"], [.left, .right])
        for model in models {
            table.add(
                model.name, ByteCount.text(model.size), model.architecture ?? "?", model.license ?? "?",
                model.problem ?? model.source ?? "?")
        }
        Terminal.result(table.text)
    }

    private func printCatalog() throws {
        if output.json {
            let entries = Catalog.entries.map { entry -> JSON in
                [
                    "name": .string(entry.name), "summary": .string(entry.summary),
                    "architecture": .string(entry.architecture), "license": .string(entry.license),
                    "parameters": .int(entry.parameters), "size": .int(entry.size),
                    "files": .array(
                        entry.files.map {
                            ["name": .string($0.name), "size": .int($0.size), "sha256": .string($0.sha256)]
                        }),
                ]
            }
            Terminal.result(JSON.array(entries).text(pretty: true))
            return
        }
        var table = Table(["name", "parameters", "size", "licence", "what it is"], [.left, .right, .right])
        for entry in Catalog.entries {
            table.add(
                entry.name, Format.count(entry.parameters), ByteCount.text(entry.size), entry.license, entry.summary)
        }
        Terminal.result(table.text)
    }
}
