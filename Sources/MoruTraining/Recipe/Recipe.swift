import MoruBase
import MoruModels
import MoruNN
import MoruTensor

/// Everything that decides a tuning run: the model, the data, which parameters move, and how.
///
/// Read from a YAML file (``init(file:overrides:)``) or made in Swift. Paths are resolved: those of a file are relative
/// to it.
public struct Recipe: Sendable, Hashable {
    /// Which parameters move.
    public enum Method: String, Sendable, Hashable, CaseIterable {
        /// A low-rank adapter beside the frozen model, which may be quantised.
        case lora
        /// Learnt scales of keys, values and the feed-forward's inner activations.
        case ia3
        /// Learnt vectors before every sequence.
        case prompt
        /// Learnt keys and values before every sequence, in every layer.
        case prefix
        /// The last layers of the model itself.
        case lastLayers = "last_layers"
        /// Every weight of the model itself.
        case full
        /// The head alone, where there is one: what the model as it is can tell.
        case head
    }

    /// What is learnt from the data.
    public enum Objective: String, Sendable, Hashable, CaseIterable {
        /// The examples themselves (supervised fine-tuning).
        case sft
        /// Which of two answers people prefer (direct preference optimisation).
        case dpo
        /// The examples, and what a larger model thinks of them.
        case distillation
        /// Which labels a text has; a head is learnt.
        case classification
        /// What is to be found in a text, and where; a head is learnt.
        case extraction
        /// A number that a text has; a head is learnt.
        case regression
        /// Which texts belong together: vectors of texts.
        case embedding

        /// Whether a head is learnt, and nothing generated.
        public var learnsHead: Bool { [.classification, .extraction, .regression].contains(self) }
    }

    /// The base model: a path, or a name that the caller resolves. It is noted in the adapter.
    public var model: String
    /// The directory that the run writes.
    public var output: String
    /// Which parameters move.
    public var method = Method.lora
    /// What is learnt from the data.
    public var objective = Objective.sft
    /// The quantised format that a dense base is held in while an adapter is learnt beside it; nil for as it is.
    public var quantize: DType?
    /// What is learnt from.
    public var data: DataSettings
    /// Of ``Method/lora``: the adapter's shape.
    public var lora = LoRAConfiguration()
    /// Of ``Method/ia3``: which layers are scaled.
    public var ia3 = IA3Configuration()
    /// Of ``Method/prompt`` and ``Method/prefix``: how many virtual tokens there are, and how they begin.
    public var virtualTokens = VirtualTokenSettings()
    /// Of ``Method/lastLayers``: which weights move.
    public var lastLayers = LastLayersSettings()
    /// Of ``Objective/dpo``: the loss.
    public var preference = PreferenceSettings()
    /// Of ``Objective/distillation``: the loss.
    public var distillation = DistillationLoss()
    /// Of ``Objective/distillation``: the model that is learnt from.
    public var teacher: String?
    /// Of objectives that learn a head: the share of its inputs that is dropped in training.
    public var headDropout: Float = 0
    /// Of ``Objective/embedding``: how vectors come about and are compared.
    public var embedding = EmbeddingSettings()
    /// Of ``Method/lastLayers``, ``Method/full`` and ``Method/head``: how the tuned model is stored; nil for f32 where it moved.
    public var saveDType: DType?
    /// How the parameters move.
    public var training = TrainingSettings()
    /// How the result is measured; read by the evaluation, not by the training.
    public var evaluation = EvaluationSettings()

    /// Makes a recipe.
    public init(
        model: String, output: String, data: DataSettings, lora: LoRAConfiguration = LoRAConfiguration(),
        training: TrainingSettings = TrainingSettings(), evaluation: EvaluationSettings = EvaluationSettings()
    ) {
        self.model = model
        self.output = output
        self.data = data
        self.lora = lora
        self.training = training
        self.evaluation = evaluation
    }
}

/// The virtual tokens of prompt and prefix tuning.
public struct VirtualTokenSettings: Sendable, Hashable {
    /// How many there are; each takes a position of the context.
    public var count: Int
    /// How they begin.
    public var start: VirtualTokenStart

    /// Makes settings.
    public init(count: Int = 20, start: VirtualTokenStart = .random) {
        self.count = count
        self.start = start
    }
}

/// How vectors of texts come about and are compared in training.
public struct EmbeddingSettings: Sendable, Hashable {
    /// How hidden states become a vector, where the model does not say it; nil for the mean of an encoder's and the last
    /// of a language model's.
    public var pooling: SentenceModules.Pooling?
    /// What cosines are multiplied by: the inverse of the temperature.
    public var scale: Float

    /// Makes settings.
    public init(pooling: SentenceModules.Pooling? = nil, scale: Float = 20) {
        (self.pooling, self.scale) = (pooling, scale)
    }
}

/// Which of a model's own weights move when only the last do.
public struct LastLayersSettings: Sendable, Hashable {
    /// How many layers.
    public var count: Int
    /// Whether the output projection moves too, and the embeddings where they are tied to it.
    public var includesHead: Bool

    /// Makes settings.
    public init(count: Int = 2, includesHead: Bool = false) {
        self.count = count
        self.includesHead = includesHead
    }
}

/// Which files a run learns from, and how they are read.
public struct DataSettings: Sendable, Hashable {
    /// The shape of a data file's records; see ``ExampleShape``.
    public enum Format: String, Sendable, Hashable, CaseIterable {
        /// What the fields of the first record tell.
        case auto
        /// `{"messages": [{"role": ..., "content": ...}, ...]}`.
        case messages
        /// `{"prompt": ..., "completion": ...}`.
        case completion
        /// `{"instruction": ..., "input": ..., "output": ...}`.
        case instruction
        /// `{"text": ..., "label": ...}`.
        case classification
        /// `{"prompt": ..., "chosen": ..., "rejected": ...}`.
        case preference
        /// `{"text": ...}`.
        case text

        /// The shape that it stands for; nil for what the fields tell.
        public var shape: ExampleShape? {
            switch self {
            case .auto: nil
            case .messages: .chat
            case .completion: .completion
            case .instruction: .instruction
            case .classification: .classification
            case .preference: .preference
            case .text: .text
            }
        }
    }

    /// What happens to an example with more tokens than allowed.
    public enum LengthPolicy: String, Sendable, Hashable, CaseIterable {
        /// The run does not start.
        case error
        /// The example is left out, and counted.
        case skip
        /// The example is cut at its end, and counted.
        case truncate
    }

    /// A file, folder or pattern to learn from.
    public var train: String
    /// More of them.
    public var additional: [String] = []
    /// The share of each source, ``train`` and ``additional``; empty for every example once an epoch.
    public var weights: [Double] = []
    /// Where an epoch over weighted sources ends.
    public var epochEnd = EpochOrder.End.largest
    /// A file, folder or pattern to measure on during the run; nil for none.
    public var validation: String?
    /// The shape of the records.
    public var format: Format
    /// What fields are called in the data, by their usual names.
    public var fields: [String: String] = [:]
    /// The roles whose messages are learnt; `all` for everything.
    public var trainOn = ["assistant"]
    /// How a text with a label is put to the model.
    public var classification = ClassificationPrompt()
    /// The most tokens of an example; nil for the model's context length.
    public var maxLength: Int?
    /// What happens to longer examples.
    public var tooLong: LengthPolicy

    /// Makes settings.
    public init(
        train: String, validation: String? = nil, format: Format = .auto, maxLength: Int? = nil,
        tooLong: LengthPolicy = .error
    ) {
        self.train = train
        self.validation = validation
        self.format = format
        self.maxLength = maxLength
        self.tooLong = tooLong
    }

    /// What is learnt of an example.
    public var learned: LearnedRoles { trainOn.contains("all") ? .all : LearnedRoles(Set(trainOn)) }

    /// A source that is read as these settings say.
    public func source(_ path: String, weight: Double? = nil) -> DataSource {
        DataSource(path, shape: format.shape, weight: weight, fields: fields, classification: classification)
    }

    /// What is learnt from.
    ///
    /// - Throws: ``MoruError/Code/recipeValue`` when there is not a weight for each source.
    public func trainingSources() throws(MoruError) -> [DataSource] {
        let paths = [train] + additional
        guard weights.isEmpty || weights.count == paths.count else {
            throw MoruError(
                .recipeValue, "data.weights has \(weights.count) numbers, data.train \(paths.count) sources",
                remedy: "give each source a weight, in their order, or none")
        }
        return paths.enumerated().map { source($1, weight: weights.isEmpty ? nil : weights[$0]) }
    }
}

extension Recipe {
    /// Refuses a recipe whose data is not there.
    ///
    /// - Throws: ``MoruError/Code/fileNotFound``, naming key and path, or what opening the files throws.
    public func requireFiles() throws(MoruError) {
        for source in try data.trainingSources() {
            do { _ = try DataFiles(source) } catch { throw error.within("data") }
        }
        let others = [("data.validation", data.validation), ("evaluation.data", evaluation.data)]
        for (key, path) in others {
            guard let path, !FileSystem.exists(path) else { continue }
            throw MoruError(.fileNotFound, "\(key): \(path) does not exist", remedy: "check the path")
        }
    }
}

/// How a tuned model is measured.
public struct EvaluationSettings: Sendable, Hashable {
    /// JSONL of labelled examples; nil for none.
    public var data: String?
    /// The most tokens of an answer.
    public var maxTokens: Int
    /// The labels that an answer gives, each on a line `label: value`; empty when the whole answer is the label.
    public var labels: [String]
    /// What must hold of the tuned model, such as `accuracy >= 0.8`; measured after the run.
    public var gates: [String]

    /// Makes settings.
    public init(data: String? = nil, maxTokens: Int = 32, labels: [String] = [], gates: [String] = []) {
        self.data = data
        self.maxTokens = maxTokens
        self.labels = labels
        self.gates = gates
    }
}
