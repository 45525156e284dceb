import MoruBase

/// When a run ends because it no longer gets better.
public struct EarlyStopping: Sendable, Hashable {
    /// Which way is better.
    public enum Mode: String, Sendable, Hashable, CaseIterable {
        /// Less is better.
        case min
        /// More is better.
        case max
    }

    /// What is watched: `validation_loss`, `validation_` and the name of another figure that the task reports, or
    /// `loss`, the mean of the training losses since the last look.
    public var metric: String
    /// Looks without an improvement after which the run ends; nil for never.
    public var patience: Int?
    /// By how much the metric must get better to count.
    public var minDelta: Float
    /// Which way is better.
    public var mode: Mode

    /// The metric that is the default.
    public static let validationLoss = "validation_loss"
    /// The metric that needs no validation data.
    public static let trainingLoss = "loss"

    /// Makes settings.
    public init(
        metric: String = EarlyStopping.validationLoss, patience: Int? = nil, minDelta: Float = 0, mode: Mode = .min
    ) {
        self.metric = metric
        self.patience = patience
        self.minDelta = minDelta
        self.mode = mode
    }
}

/// What early stopping remembers of a run.
struct StoppingState: Sendable, Hashable {
    /// The best value so far.
    var best: Double?
    /// Looks since then.
    var looksSince = 0
    /// The training losses since the last look: their sum and number.
    var lossSum = 0.0, lossCount = 0

    /// Takes a look at the metric.
    ///
    /// - Returns: Whether the run is to end.
    mutating func look(_ value: Double, _ settings: EarlyStopping) -> Bool {
        (lossSum, lossCount) = (0, 0)
        let gain = best.map { settings.mode == .min ? $0 - value : value - $0 }
        if gain.map({ $0 > Double(settings.minDelta) }) ?? true {
            (best, looksSince) = (value, 0)
        } else {
            looksSince += 1
        }
        return settings.patience.map { looksSince >= $0 } ?? false
    }

    var json: JSON {
        [
            "best": best.map { .double($0) } ?? .null, "looks_since": .int(looksSince), "loss_sum": .double(lossSum),
            "loss_count": .int(lossCount),
        ]
    }

    init() {}

    /// Reads what ``json`` gives.
    init?(json: JSON) {
        guard let looks = json["looks_since"]?.int, let sum = json["loss_sum"]?.double,
            let count = json["loss_count"]?.int
        else { return nil }
        (best, looksSince, lossSum, lossCount) = (json["best"]?.double, looks, sum, count)
    }
}
