import MoruBase
import MoruText

/// Everything that decides a training from scratch.
///
/// Read from a YAML file (``init(file:overrides:)``) or made in Swift. What is nil follows from ``size``.
public struct PretrainingRecipe: Sendable, Hashable {
    /// The kind of model.
    public var architecture = PretrainingArchitecture.llama
    /// How large it is, and what follows for its training.
    public var size = ModelSize.micro
    /// Files, folders or patterns of what is learnt from: plain texts, JSONL with `text`.
    public var train: [String]
    /// Likewise for what is held out; empty takes ``validationShare`` of the training data's end.
    public var validation: [String] = []
    /// The share of the training data that is held out where there is no other.
    public var validationShare: Float = 0.05
    /// A directory with a tokenizer to use; nil trains one.
    public var tokenizer: String?
    /// How a tokenizer is trained.
    public var tokenizerModel = TokenizerTraining.Model.bpe
    /// How text is cut into words for it.
    public var tokenizerPattern = TokenizerTraining.Pattern.llama3
    /// Ids that it has in the end.
    public var vocabularySize: Int?
    /// The model's shape.
    public var shape = ModelShape()
    /// The tokens that a step learns from.
    public var tokensAStep: Int?
    /// The directory that the run writes.
    public var output: String
    /// Beginnings of texts that the model goes on with before and after, for the report.
    public var prompts: [String] = []
    /// How the parameters move; ``TrainingSettings/batchSize`` is in rows and follows from ``tokensAStep``.
    public var training: TrainingSettings

    /// A recipe with the settings of its size.
    public init(train: [String], output: String, size: ModelSize = .micro) {
        self.train = train
        self.output = output
        self.size = size
        training = Self.settings(size)
    }

    /// How models of a size are trained where nothing else is said: AdamW with a cosine schedule, as Llama's.
    static func settings(_ size: ModelSize) -> TrainingSettings {
        var settings = TrainingSettings()
        settings.learningRate = size.learningRate
        settings.optimizer.beta2 = 0.95
        settings.optimizer.weightDecay = 0.1
        settings.warmup = .share(0.05)
        settings.finalLearningRateShare = 0.1
        settings.evaluatesAtStart = true
        return settings
    }

    /// The positions of the model and the tokens of a row.
    var contextLength: Int { shape.contextLength(size) }

    /// The ids of the tokenizer that is trained.
    var wantedVocabulary: Int { vocabularySize ?? size.vocabularySize }

    /// How the parameters move, with the rows of a step.
    var resolvedTraining: TrainingSettings {
        var settings = training
        let rows = max(1, (tokensAStep ?? size.tokensAStep) / contextLength)
        // Rows that pass through the model together hold its activations: at most 16k tokens
        let together = max(1, min(rows, (1 << 14) / contextLength))
        settings.batchSize = together
        settings.gradientAccumulation = max(1, rows / together)
        return settings
    }
}
