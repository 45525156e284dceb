import MoruBase
import MoruNN

/// A recipe that comes with Moru, to begin from.
public struct BuiltInRecipe: Sendable {
    /// What it is called.
    public let name: String
    /// What it is for, in a line.
    public let summary: String
    /// The recipe; its paths are relative to wherever it is copied to.
    public let recipe: Recipe
    /// Every built-in recipe.
    public static let all: [BuiltInRecipe] = [
        BuiltInRecipe("lora-chat", "A low-rank adapter for conversations: where to start.") { recipe in
            recipe.lora = LoRAConfiguration(rank: 16, alpha: 32, targets: [LayerGroup.allLinear])
            recipe.training.learningRate = 5e-4
        },
        BuiltInRecipe("qlora", "LoRA on a quantised base: a larger model in the same memory.") { recipe in
            recipe.lora = LoRAConfiguration(rank: 16, alpha: 16, dropout: 0.05, targets: [LayerGroup.allLinear])
            recipe.quantize = .q8_0
            recipe.training.batchSize = 1
            recipe.training.gradientAccumulation = 8
        },
        BuiltInRecipe("dora", "LoRA that learns magnitudes separately from directions: closer to full tuning.") {
            recipe in
            recipe.lora = LoRAConfiguration(
                rank: 8, alpha: 16, targets: [LayerGroup.allLinear], decomposesWeights: true)
        },
        BuiltInRecipe("prompt-tuning", "A few learned vectors in front of every prompt: kilobytes per task.") {
            recipe in
            recipe.method = .prompt
            recipe.virtualTokens = VirtualTokenSettings(count: 20, start: .text("Answer the user's message."))
            recipe.training.learningRate = 0.03
            recipe.training.length = .epochs(5)
        },
        BuiltInRecipe("prefix-tuning", "Learned keys and values in every layer.") { recipe in
            recipe.method = .prefix
            recipe.virtualTokens = VirtualTokenSettings(count: 20, start: .text("Answer the user's message."))
            recipe.training.learningRate = 0.01
            recipe.training.length = .epochs(5)
        },
        BuiltInRecipe("ia3", "Learned scales of a few activations: the fewest parameters.") { recipe in
            recipe.method = .ia3
            recipe.training.learningRate = 3e-3
            recipe.training.length = .epochs(3)
        },
        BuiltInRecipe("dpo", "Learn which of two answers people prefer, relative to the original model.") { recipe in
            recipe.objective = .dpo
            recipe.lora = LoRAConfiguration(rank: 16, alpha: 32, targets: [LayerGroup.allLinear])
            recipe.training.learningRate = 5e-5
            recipe.training.warmup = .share(0.1)
        },
        BuiltInRecipe("distillation", "A small model learns the predictions of a larger one of its family.") { recipe in
            recipe.objective = .distillation
            recipe.teacher = "./teacher"
            recipe.method = .full
            recipe.saveDType = .bf16
            recipe.training.learningRate = 5e-5
        },
        BuiltInRecipe("last-layers", "The last layers of the model itself, with lower rates for lower layers.") {
            recipe in
            recipe.method = .lastLayers
            recipe.training.learningRate = 5e-5
            recipe.training.optimizer = OptimizerSettings(weightDecay: 0.01, layerDecay: 0.8)
        },
        BuiltInRecipe("classifier", "Classify texts: a head and an adapter, trained together.") { recipe in
            recipe.objective = .classification
            recipe.lora = LoRAConfiguration(rank: 8, alpha: 16, targets: [LayerGroup.allLinear])
            recipe.training.learningRate = 1e-3
            recipe.training.length = .epochs(3)
        },
        BuiltInRecipe("extractor", "Extract spans from texts: names, amounts, dates.") { recipe in
            recipe.objective = .extraction
            recipe.lora = LoRAConfiguration(rank: 8, alpha: 16, targets: [LayerGroup.allLinear])
            recipe.training.learningRate = 1e-3
            recipe.training.length = .epochs(3)
        },
        BuiltInRecipe("embedder", "Text embeddings: learn from your pairs which texts belong together.") { recipe in
            recipe.model = "all-minilm-l6-v2"
            recipe.objective = .embedding
            recipe.lora = LoRAConfiguration(rank: 16, alpha: 32)
            recipe.data.maxLength = 128
            recipe.training.learningRate = 5e-4
            recipe.training.batchSize = 32
            recipe.training.length = .epochs(3)
        },
        BuiltInRecipe("probe", "The head alone: shows how much the unchanged model can tell.") { recipe in
            recipe.objective = .classification
            recipe.method = .head
            recipe.training.learningRate = 1e-2
            recipe.training.length = .epochs(5)
        },
        BuiltInRecipe("full", "Train every weight: the most memory, and a whole model as the result.") { recipe in
            recipe.method = .full
            recipe.saveDType = .bf16
            recipe.training.learningRate = 2e-5
            recipe.training.batchSize = 2
            recipe.training.gradientAccumulation = 8
            recipe.training.optimizer = OptimizerSettings(weightDecay: 0.01)
        },
    ]

    private init(_ name: String, _ summary: String, _ change: (inout Recipe) -> Void) {
        self.name = name
        self.summary = summary
        var recipe = Recipe(
            model: "smollm2-135m-instruct", output: "runs/\(name)",
            data: DataSettings(train: "train.jsonl", validation: "validation.jsonl"))
        recipe.data.maxLength = 1024
        recipe.data.tooLong = .skip
        recipe.training.batchSize = 4
        change(&recipe)
        self.recipe = recipe
    }

    /// The recipe of a name.
    ///
    /// - Throws: ``MoruError/Code/recipeUnknown``, naming the nearest.
    public static func named(_ name: String) throws(MoruError) -> BuiltInRecipe {
        if let found = all.first(where: { $0.name == name }) { return found }
        let names = all.map(\.name)
        throw MoruError(
            .recipeUnknown, "no recipe \(name) comes with Moru",
            remedy: nearestName(to: name, among: names).map { "did you mean \($0)?" }
                ?? "choose from \(names.joined(separator: ", "))")
    }

    /// The recipe as YAML, with other values for some keys.
    ///
    /// - Throws: As ``Recipe/init(file:overrides:)``.
    public func yaml(overrides: [String]) throws(MoruError) -> String {
        let changed = try Recipe(yaml: yaml, source: name, name: name, overrides: overrides)
        return changed.commented(title)
    }

    private var title: [String] { ["\(name): \(summary)", "Run it with: moru tune \(name).yaml"] }

    /// The recipe as YAML, with what each key means.
    public var yaml: String { recipe.commented(title) }
}

extension Recipe {
    /// Keys that are always worth showing.
    private static let essentials = [
        "model", "method", "data.train", "training.epochs", "training.batch_size", "training.learning_rate",
        "training.schedule", "training.warmup_ratio", "training.seed",
    ]

    /// The recipe as YAML for people: the keys that say something, each with its meaning, and the chosen method's.
    ///
    /// - Parameter title: Comments at the top.
    func commented(_ title: [String]) -> String {
        var rows: [(text: String, comment: String?)] = []
        var section = ""
        for key in Self.keys where shows(key) {
            guard let value = key.get(self) else { continue }
            let isRead = reads(section: key.section) ?? false
            let says = value != key.get(Self.defaults) || isRead || Self.essentials.contains(key.path)
            guard says, key.path != "output" else { continue }
            if key.section != section {
                section = key.section
                rows += [("", nil), ("\(section):", nil)]
            }
            rows.append(((section.isEmpty ? "" : "  ") + "\(key.name): \(value.text)", Self.meanings[key.path]))
        }
        let width = min(44, rows.map(\.text.count).filter { $0 <= 44 }.max() ?? 0)
        let lines = rows.map { text, comment in
            guard let comment else { return text }
            return text + String(repeating: " ", count: max(0, width - text.count)) + "  # \(comment)"
        }
        return (title.map { "# \($0)" } + [""] + lines).joined(separator: "\n") + "\n"
    }
}
