import Foundation
import MoruBase
import MoruNN
import Yams

/// A recipe made from another program's configuration.
public struct RecipeImport: Sendable {
    /// The programs whose configurations are understood.
    public enum Origin: String, Sendable, Hashable, CaseIterable {
        /// axolotl.
        case axolotl
        /// LLaMA-Factory.
        case llamaFactory = "llama-factory"
        /// fms-hf-tuning, and what else has the keys of transformers' TrainingArguments.
        case fmsHFTuning = "fms-hf-tuning"
    }

    /// A key that was not carried over, and why.
    public struct Leftover: Sendable, Hashable {
        /// The key, as it is called there.
        public let key: String
        /// Its value.
        public let value: String
        /// Why it has no counterpart, or what to do about it.
        public let reason: String
    }

    /// Whose configuration it was.
    public let origin: Origin
    /// The recipe.
    public let recipe: Recipe
    /// What was not carried over, in the order of the file.
    public let leftovers: [Leftover]
    /// The recipe as YAML, with its meanings and what was not carried over.
    public let yaml: String

    /// Reads a configuration.
    ///
    /// - Parameters:
    ///   - path: A YAML or JSON file.
    ///   - origin: Whose it is; nil tells it from its keys.
    /// - Throws: ``MoruError/Code/recipeMalformed`` when it is no mapping or nobody's, ``MoruError/Code/recipeValue``
    ///   for a value that no recipe may have.
    public init(file path: String, origin: Origin? = nil) throws(MoruError) {
        try self.init(text: FileSystem.readText(path), source: path, origin: origin)
    }

    /// Reads a configuration; see ``init(file:origin:)``.
    public init(text: String, source: String, origin: Origin? = nil) throws(MoruError) {
        let root: Node?
        do {
            root = try Yams.compose(yaml: text)
        } catch {
            throw .recipeMalformed(error, source: source)
        }
        guard case .mapping(let mapping)? = root else {
            throw MoruError(.recipeMalformed, "\(source) is not a mapping of keys to values")
        }
        var values: [(key: String, node: Node)] = []
        for (key, value) in mapping { values.append((key.string ?? "", value)) }
        guard let origin = origin ?? Origin(keys: Set(values.map(\.key))) else {
            throw MoruError(
                .recipeMalformed, "\(source) is not told by its keys to be a configuration that can be imported",
                remedy: "say whose it is: " + Origin.allCases.map(\.rawValue).joined(separator: ", "))
        }
        var reader = ForeignReader(origin, values, source: source)
        try reader.read()
        self.origin = origin
        recipe = reader.recipe
        leftovers = reader.leftovers
        var title = ["Imported from \((source as NSString).lastPathComponent) (\(origin.rawValue))."]
        if !leftovers.isEmpty {
            title += ["", "Not carried over:"] + leftovers.map { "  \($0.key): \($0.value)  (\($0.reason))" }
        }
        yaml = recipe.commented(title)
    }
}

extension RecipeImport.Origin {
    /// Tells a configuration from its keys.
    init?(keys: Set<String>) {
        if keys.contains("base_model") {
            self = .axolotl
        } else if !keys.isDisjoint(with: ["finetuning_type", "stage", "dataset_dir", "cutoff_len"]) {
            self = .llamaFactory
        } else if !keys.isDisjoint(with: ["training_data_path", "peft_method", "data_config_path"]) {
            self = .fmsHFTuning
        } else {
            return nil
        }
    }
}

/// Carries one configuration's keys over.
private struct ForeignReader {
    let origin: RecipeImport.Origin
    let source: String
    var values: [(key: String, node: Node)]
    var recipe = Recipe(model: "", output: "runs/imported", data: DataSettings(train: ""))
    var leftovers: [RecipeImport.Leftover] = []

    init(_ origin: RecipeImport.Origin, _ values: [(key: String, node: Node)], source: String) {
        (self.origin, self.values, self.source) = (origin, values, source)
    }

    mutating func read() throws(MoruError) {
        try applyDefaults()
        for (key, node) in values where !isEmpty(node) {
            if let path = ForeignKeys.same(origin)[key] {
                try set(path, node, from: key)
            } else if let reason = ForeignKeys.needless[key] {
                leave(key, node, reason)
            } else if try !readSpecially(key, node) {
                leave(key, node, "has no counterpart")
            }
        }
        if recipe.model.isEmpty { throw MoruError(.recipeValue, "\(source) names no model", remedy: "add it there") }
        if recipe.data.train.isEmpty {
            recipe.data.train = "train.jsonl"
            leave("data", nil, "no file of examples is named: put yours at train.jsonl, or change data.train")
        }
    }

    /// What the other program takes where its file says nothing, and Moru does not.
    private mutating func applyDefaults() throws(MoruError) {
        recipe.data.tooLong = .truncate
        recipe.training.warmup = .share(0)
        switch origin {
        case .axolotl:
            recipe.method = .full
            recipe.data.tooLong = .skip
            recipe.training.batchSize = 1
        case .llamaFactory:
            recipe.data.maxLength = 2048
            recipe.training.learningRate = 5e-5
            recipe.training.length = .epochs(3)
            recipe.training.schedule = .linear
            recipe.lora.targets = [LayerGroup.allLinear]
            let rank = values.first { $0.key == "lora_rank" }.flatMap { $0.node.int } ?? 8
            recipe.lora.alpha = Float(2 * rank)
        case .fmsHFTuning:
            recipe.method = .full
            recipe.training.learningRate = 5e-5
            recipe.training.length = .epochs(3)
            recipe.training.schedule = .linear
            recipe.lora.alpha = 32
            recipe.lora.dropout = 0.05
            recipe.lora.targets = ["q_proj", "v_proj"]
            recipe.virtualTokens = VirtualTokenSettings(count: 8)
        }
    }

    /// Carries over what is more than another name.
    ///
    /// - Returns: False for a key that is not known.
    private mutating func readSpecially(_ key: String, _ node: Node) throws(MoruError) -> Bool {
        let text = node.string ?? ""
        switch (origin, key) {
        case (.axolotl, "adapter"), (.llamaFactory, "finetuning_type"), (.fmsHFTuning, "peft_method"):
            let methods: [String: Recipe.Method] = [
                "lora": .lora, "qlora": .lora, "full": .full, "freeze": .lastLayers, "pt": .prompt, "none": .full,
                "prompt_tuning": .prompt, "prefix_tuning": .prefix, "ia3": .ia3,
            ]
            guard let method = methods[text] else {
                leave(key, node, "is not a method that Moru has")
                return true
            }
            recipe.method = method
            if text == "qlora" { leave(key, node, "became lora: name a quantised model (GGUF) as the model") }
        case (_, "lora_target_linear") where node.bool == true: recipe.lora.targets = [LayerGroup.allLinear]
        case (_, "lora_target_linear"): break
        case (_, "lora_target"), (_, "lora_target_modules"), (.fmsHFTuning, "target_modules"):
            let names =
                node.sequence.map { $0.compactMap(\.string) }
                ?? text.split(separator: ",").map {
                    $0.trimmingCharacters(in: .whitespaces)
                }
            recipe.lora.targets = names == ["all"] || names == ["all-linear"] ? [LayerGroup.allLinear] : names
        case (_, "optimizer"), (_, "optim"): readOptimizer(key, node)
        case (_, "lr_scheduler"), (_, "lr_scheduler_type"):
            let schedules: [String: LearningRateSchedule.Shape] = [
                "linear": .linear, "cosine": .cosine, "constant": .constant, "constant_with_warmup": .constant,
                "cosine_with_min_lr": .cosine, "warmup_stable_decay": .warmupStableDecay,
            ]
            if let schedule = schedules[text] {
                recipe.training.schedule = schedule
            } else {
                leave(key, node, "is not a schedule that Moru has; cosine is kept")
                recipe.training.schedule = .cosine
            }
        case (_, "datasets"): readDatasets(key, node, into: \.data.train)
        case (_, "test_datasets"): readDatasets(key, node, into: \.data.validation)
        case (.llamaFactory, "dataset"), (.llamaFactory, "eval_dataset"):
            leave(key, node, "is a name in LLaMA-Factory's dataset_info.json: give the file as data.train")
        case (_, "val_set_size"), (_, "val_size"):
            leave(key, node, "split the data first: moru data split")
        case (_, "max_steps"):
            if let steps = node.int, steps > 0 { recipe.training.length = .steps(steps) }
        case (_, "num_epochs"), (_, "num_train_epochs"):
            guard let epochs = Double(text), epochs > 0 else { return false }
            // steps win in every one of these programs
            guard !values.contains(where: { $0.key == "max_steps" && ($0.node.int ?? 0) > 0 }) else { break }
            recipe.training.length = .epochs(max(1, Int(epochs.rounded())))
            if epochs != epochs.rounded() { leave(key, node, "was rounded to whole epochs") }
        case (_, "eval_steps"), (_, "save_steps"):
            guard let steps = Double(text), steps > 0 else { return false }
            guard steps >= 1 else {
                leave(key, node, "is a share of the run; Moru counts steps")
                break
            }
            if key == "eval_steps" {
                recipe.training.evaluateEvery = Int(steps)
            } else {
                recipe.training.saveEvery = Int(steps)
            }
        case (.axolotl, "rl"), (.llamaFactory, "stage"):
            if text != "sft" { leave(key, node, "is not the objective that was imported: examples are imitated") }
        case (.fmsHFTuning, "prompt_tuning_init"): break
        case (.llamaFactory, "train_on_prompt"), (.axolotl, "train_on_inputs"):
            if node.bool == true { leave(key, node, "only answers are trained on") }
        default: return false
        }
        return true
    }

    private mutating func readOptimizer(_ key: String, _ node: Node) {
        let name = (node.string ?? "").lowercased()
        let isRounded = name.contains("8bit") || name.contains("4bit")
        let kinds: [(part: String, kind: OptimizerSettings.Kind)] = [
            ("adafactor", .adafactor), ("lion", .lion), ("muon", .muon), ("sgd", .sgd),
            ("adam", isRounded ? .adamw8Bit : .adamw),
        ]
        guard let kind = kinds.first(where: { name.contains($0.part) })?.kind else {
            leave(key, node, "is not an optimizer that Moru has; adamw is kept")
            return
        }
        recipe.training.optimizer.kind = kind
        if kind == .adamw8Bit {
            if name.contains("4bit") { leave(key, node, "became \(kind.rawValue), whose state is of 8 bits") }
        } else if isRounded || name.contains("paged") {
            leave(key, node, "became \(kind.rawValue), whose state is f32")
        }
    }

    private mutating func readDatasets(_ key: String, _ node: Node, into place: WritableKeyPath<Recipe, String>) {
        readDatasets(key, node) { $0[keyPath: place] = $1 }
    }

    private mutating func readDatasets(_ key: String, _ node: Node, into place: WritableKeyPath<Recipe, String?>) {
        readDatasets(key, node) { $0[keyPath: place] = $1 }
    }

    private mutating func readDatasets(_ key: String, _ node: Node, _ take: (inout Recipe, String) -> Void) {
        var isTaken = false
        for (index, item) in (node.sequence.map(Array.init) ?? []).enumerated() {
            let path = item["data_files"]?.string ?? item["data_files"]?.sequence?.first?.string ?? item["path"]?.string
            let name = "\(key)[\(index)]"
            let isFile =
                path.map { [".jsonl", ".json", ".csv", ".tsv", ".txt"].contains(where: $0.hasSuffix) } ?? false
            guard let path, isFile else {
                leave(name, item, "names no file: download the data and give it as data.train")
                continue
            }
            guard !isTaken else {
                leave(name, item, "the first source was taken")
                continue
            }
            take(&recipe, path)
            isTaken = true
        }
    }

    private mutating func set(_ path: String, _ node: Node, from key: String) throws(MoruError) {
        guard let target = Recipe.keys.first(where: { $0.path == path }) else {
            preconditionFailure("\(path) is not a key of a recipe")
        }
        let value: RecipeValue =
            node.sequence.map { .list($0.compactMap(\.string)) } ?? .scalar(node.string ?? "", isPlain: true)
        guard target.set(&recipe, value) else {
            let place = node.mark.map { "\(source):\($0.line)" } ?? source
            throw MoruError(
                .recipeValue, "\(place): \(key) is \(value.text)",
                remedy: "as \(path) of a recipe it must be \(target.expectation)")
        }
    }

    private func isEmpty(_ node: Node) -> Bool {
        guard case .scalar(let scalar) = node else { return false }
        return ["", "~", "null", "None"].contains(scalar.string)
    }

    private mutating func leave(_ key: String, _ node: Node?, _ reason: String) {
        leftovers.append(RecipeImport.Leftover(key: key, value: node.map(Self.brief) ?? "", reason: reason))
    }

    /// A value in one short line.
    private static func brief(_ node: Node) -> String {
        let text: String =
            switch node {
            case .scalar(let scalar): scalar.string
            case .sequence(let items): "[" + items.map(brief).joined(separator: ", ") + "]"
            case .mapping(let mapping):
                "{" + mapping.map { "\($0.key.string ?? ""): \(brief($0.value))" }.joined(separator: ", ") + "}"
            case .alias: ""
            }
        let line = text.split(whereSeparator: \.isNewline).joined(separator: " ")
        return line.count > 60 ? line.prefix(57) + "..." : line
    }
}
