import ArgumentParser
import Foundation
import MoruBase
import MoruModels
import MoruTraining

/// `moru recipe`: what decides a training run.
struct RecipeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "recipe", abstract: "Recipes: list, copy, check, estimate, import and run them.",
        usage: "moru recipe <subcommand>",
        discussion: """
            A recipe is a YAML file that defines a training run: the model, the data, which
            parameters are trained, and how.

            Examples:
              moru recipe list
              moru recipe copy lora-chat mine.yaml --set data.train=data.jsonl
              moru recipe estimate mine.yaml
              moru recipe run mine.yaml
            """,
        subcommands: [
            List.self, Copy.self, Validate.self, Estimate.self, Import.self, Run.self, Keys.self,
        ])
}

/// The recipe that a command works with.
struct RecipeArgument: ParsableArguments {
    @Argument(help: "The recipe.", completion: .file(extensions: ["yaml", "yml"]))
    var recipe: String
    @Option(
        name: .customLong("set"),
        help: ArgumentHelp(
            "Override a key of the recipe. Its paths are relative to the working directory. May be repeated.",
            valueName: "key=value"))
    var overrides: [String] = []

    /// Reads the recipe.
    func read() throws -> Recipe {
        if !FileSystem.exists(recipe), BuiltInRecipe.all.contains(where: { $0.name == recipe }) {
            throw MoruError(
                .fileNotFound, "\(recipe) is a recipe that comes with Moru, not a file",
                remedy: "write it to a file, which names your data: moru recipe copy \(recipe) \(recipe).yaml")
        }
        return try Recipe(file: recipe, overrides: overrides)
    }
}

extension RecipeCommand {
    /// `moru recipe list`.
    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the built-in recipes.", usage: "moru recipe list [--json]",
            discussion: """
                Examples:
                  moru recipe list
                """)

        @OptionGroup var output: OutputOptions

        func run() throws {
            if output.json {
                let items = BuiltInRecipe.all.map { item -> JSON in
                    [
                        "name": .string(item.name), "method": .string(item.recipe.method.rawValue),
                        "summary": .string(item.summary),
                    ]
                }
                Terminal.result(JSON.array(items).text(pretty: true))
            } else {
                var table = Table(["NAME", "METHOD", "WHAT"])
                for item in BuiltInRecipe.all { table.add(item.name, item.recipe.method.rawValue, item.summary) }
                Terminal.result(table.text)
            }
        }
    }

    /// `moru recipe copy`.
    struct Copy: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Copy a built-in recipe to a file, as a starting point.",
            usage: "moru recipe copy <name> [<file>] [--set <key>=<value> ...] [--force]",
            discussion: """
                Every key is explained next to its value. Without a file, prints the recipe.

                Examples:
                  moru recipe copy lora-chat mine.yaml
                  moru recipe copy full --set model=smollm2-135m-instruct
                """)

        @Argument(help: "A name from `moru recipe list`.")
        var name: String
        @Argument(help: "The file.", completion: .file(extensions: ["yaml", "yml"]))
        var file: String?
        @Option(
            name: .customLong("set"),
            help: ArgumentHelp("Set a key; may be repeated.", valueName: "key=value"))
        var overrides: [String] = []
        @Flag(help: "Overwrite an existing file.")
        var force = false

        func run() throws {
            let text = try BuiltInRecipe.named(name).yaml(overrides: overrides)
            guard let file else { return Terminal.result(String(text.dropLast())) }
            guard force || !FileSystem.exists(file) else {
                throw MoruError(
                    .fileOccupied, "\(file) already exists", remedy: "choose another name, or replace it: --force")
            }
            try FileSystem.write(text.utf8, to: file)
            Terminal.result(file)
        }
    }

    /// `moru recipe validate`.
    struct Validate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Check a recipe and that the files it names exist.",
            usage: "moru recipe validate <recipe> [--set <key>=<value> ...] [--json]",
            discussion: """
                Prints the recipe with every key written out and every path resolved.

                Examples:
                  moru recipe validate mine.yaml
                  moru recipe validate mine.yaml --set training.epochs=2
                """)

        @OptionGroup var recipe: RecipeArgument
        @OptionGroup var output: OutputOptions

        func run() throws {
            let recipe = try recipe.read()
            try recipe.requireFiles()
            _ = try ModelArgument.path(of: recipe.model)
            if output.json {
                Terminal.result(
                    JSON.object(JSONObject([("valid", true), ("recipe", .string(recipe.yaml))])).text(pretty: true))
            } else {
                Terminal.talk("the recipe is right, and what it names is there")
                Terminal.result(String(recipe.yaml.dropLast()))
            }
        }
    }

    /// `moru recipe estimate`.
    struct Estimate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Estimate what a run will need: memory, time and disk space.",
            usage: "moru recipe estimate <recipe> [--set <key>=<value> ...] [--json]",
            discussion: """
                Runs a few batches of the real data through the model and discards the
                gradients; nothing is written. `moru tune` does the same before it starts.

                Examples:
                  moru recipe estimate mine.yaml
                  moru recipe estimate mine.yaml --set training.batch_size=16
                """)

        @OptionGroup var recipe: RecipeArgument
        @OptionGroup var output: OutputOptions

        func run() throws {
            let recipe = try recipe.read()
            let estimate = try recipe.tuning().estimate()
            if output.json {
                Terminal.result(estimate.json.text(pretty: true))
            } else {
                Terminal.result(EstimateDisplay.table(estimate))
            }
        }
    }

    /// `moru recipe run`.
    struct Run: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Tune a model with a recipe; the same as `moru tune`.",
            usage: "moru recipe run <recipe> [--set <key>=<value> ...] [<options>]",
            discussion: """
                Examples:
                  moru recipe run mine.yaml
                  moru recipe run mine.yaml --resume
                """)

        @OptionGroup var options: TuningOptions

        func run() async throws { try await options.run(command: "recipe run") }
    }

    /// `moru recipe keys`.
    struct Keys: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Explain every key that a recipe may have.",
            usage: "moru recipe keys [--json | --markdown]",
            discussion: """
                Examples:
                  moru recipe keys
                  moru recipe keys --json
                """)

        @Flag(help: "Print the tables of docs/recipes.md.")
        var markdown = false
        @OptionGroup var output: OutputOptions

        func validate() throws {
            if markdown, output.json { throw ValidationError("--markdown and --json exclude each other.") }
        }

        func run() throws {
            if markdown { return Terminal.result(String(Recipe.referenceMarkdown.dropLast())) }
            if output.json {
                let keys = Recipe.reference.map { key -> JSON in
                    [
                        "key": .string(key.path), "value": .string(key.expectation),
                        "default": key.defaultValue.map { .string($0) } ?? .null, "meaning": .string(key.meaning),
                    ]
                }
                return Terminal.result(JSON.array(keys).text(pretty: true))
            }
            for key in Recipe.reference {
                Terminal.result("\(key.path): \(key.expectation)" + (key.defaultValue.map { " (default \($0))" } ?? ""))
                Terminal.result("    \(key.meaning)")
            }
        }
    }

    /// `moru recipe import`.
    struct Import: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Convert another program's configuration to a recipe.",
            usage: "moru recipe import <file> [<recipe>] [--from <program>] [<options>]",
            discussion: """
                Understands axolotl, LLaMA-Factory and fms-hf-tuning (YAML or JSON). Settings
                without a counterpart are listed. Without a file, prints the recipe.

                Examples:
                  moru recipe import axolotl.yaml mine.yaml
                  moru recipe import config.json --from fms-hf-tuning
                """)

        @Argument(help: "The other program's configuration.", completion: .file())
        var file: String
        @Argument(help: "The recipe's file.", completion: .file(extensions: ["yaml", "yml"]))
        var recipe: String?
        @Option(
            help: ArgumentHelp(
                "Whose configuration it is; told by its keys if left out: "
                    + RecipeImport.Origin.allCases.map(\.rawValue).joined(separator: ", ") + ".",
                valueName: "program"))
        var from: String?
        @Flag(help: "Overwrite an existing file.")
        var force = false
        @OptionGroup var output: OutputOptions

        func validate() throws {
            if let from, RecipeImport.Origin(rawValue: from) == nil {
                let names = RecipeImport.Origin.allCases.map(\.rawValue).joined(separator: ", ")
                throw ValidationError("'\(from)' is none of \(names).")
            }
        }

        func run() throws {
            let imported = try RecipeImport(file: file, origin: from.flatMap(RecipeImport.Origin.init))
            if let recipe {
                guard force || !FileSystem.exists(recipe) else {
                    throw MoruError(
                        .fileOccupied, "\(recipe) already exists",
                        remedy: "choose another name, or replace it: --force")
                }
                try FileSystem.write(imported.yaml.utf8, to: recipe)
            }
            if output.json {
                let leftovers = imported.leftovers.map { item -> JSON in
                    ["key": .string(item.key), "value": .string(item.value), "reason": .string(item.reason)]
                }
                Terminal.result(
                    JSON.object(
                        JSONObject([
                            ("origin", .string(imported.origin.rawValue)), ("recipe", .string(imported.yaml)),
                            ("not_carried_over", .array(leftovers)),
                        ])
                    ).text(pretty: true))
                return
            }
            Terminal.talk("read as a configuration of \(imported.origin.rawValue)")
            for item in imported.leftovers {
                Terminal.talk("not carried over: \(item.key): \(item.value)  (\(item.reason))")
            }
            Terminal.result(recipe ?? String(imported.yaml.dropLast()))
        }
    }
}

extension Recipe {
    /// The tuning of the models that the recipe names, by path or as `moru pull` knows them: a model that generates, turns
    /// texts into vectors, or gets a head.
    func tuning() throws -> any RecipeTuning {
        let path = try ModelArgument.path(of: model)
        if objective == .embedding { return try EmbeddingTuning(self, embedder: TextEmbedder.load(path)) }
        if objective.learnsHead {
            return HeadTuning(self, trunk: try PretrainedTextModel.load(path, forHead: true))
        }
        let teacher = objective == .distillation ? try self.teacher.map { try ModelArgument.load($0) } : nil
        return Tuning(self, model: try ModelArgument.load(model), teacher: teacher)
    }
}

/// Shows what a run will need.
enum EstimateDisplay {
    /// In one line, before a run.
    static func show(_ estimate: ResourceEstimate) {
        Terminal.talk(
            "estimate: \(ByteCount.text(estimate.peakMemoryBytes)) of memory, "
                + "\(Format.duration(estimate.seconds)), \(ByteCount.text(estimate.diskBytes)) on the disk")
    }

    /// Line by line.
    static func table(_ estimate: ResourceEstimate) -> String {
        func available(_ bytes: Int?) -> String { bytes.map { " of \(ByteCount.text($0)) available" } ?? "" }
        var table = Table(["WHAT", "HOW MUCH"])
        table.add("memory", ByteCount.text(estimate.peakMemoryBytes) + available(estimate.room.memoryBytes))
        table.add("  held already", ByteCount.text(estimate.weightBytes))
        table.add("  gradients", ByteCount.text(estimate.gradientBytes))
        table.add("  optimizer", ByteCount.text(estimate.optimizerBytes))
        table.add("  activations", ByteCount.text(estimate.activationBytes))
        if estimate.unpackedBytes > 0 { table.add("  unpacked weights", ByteCount.text(estimate.unpackedBytes)) }
        table.add("time", Format.duration(estimate.seconds))
        table.add("  a step", Format.fixed(estimate.secondsPerStep, 2) + " s")
        table.add("disk", ByteCount.text(estimate.diskBytes) + available(estimate.room.diskBytes))
        table.add("  at most", ByteCount.text(estimate.peakDiskBytes))
        return table.text
    }
}
