// Heads as transformers has them, by the layers of each architecture and their names in checkpoints:
//
//                sequence                                                      token
//   bert         bert.pooler.dense, tanh, dropout, classifier, on [CLS]        dropout, classifier
//   distilbert   pre_classifier, relu, dropout, classifier, on [CLS]           dropout, classifier
//   roberta      dropout, classifier.dense, tanh, dropout, classifier.out_proj dropout, classifier
//   decoders     score (no bias), on the last token                            dropout, score (gpt2: classifier)

import MoruBase
import MoruNN
import MoruTensor

/// The layers that turn a text model's hidden states into logits of labels, or numbers.
public struct TextHead: Sendable {
    /// What the outputs mean.
    public let configuration: HeadConfiguration
    /// The layer before the last one, where the architecture has one.
    private let hidden: Linear?
    private let activation: Activation
    private let output: Linear
    private let dropsOutTwice: Bool
    private let readsLastToken: Bool
    /// The names of the modules that PEFT trains and saves in full beside an adapter (`modules_to_save`).
    let moduleNames: [String]

    /// Takes a head's layers from a checkpoint, or makes fresh ones.
    ///
    /// - Parameters:
    ///   - base: The model that the head is for.
    ///   - weights: Where the parameters come from, by the names in the checkpoint.
    ///   - takesPooler: Whether the head takes over a pooler that the model has.
    /// - Throws: What the weights throw.
    init(
        _ configuration: HeadConfiguration, for base: any TextModel, _ weights: Weights, takesPooler: Bool = true
    ) throws(MoruError) {
        self.configuration = configuration
        let layout = Layout(configuration.place, architecture: base.facts.architecture)
        let (dim, count) = (base.facts.hiddenSize, configuration.labels.count)
        func linear(_ path: String, outputs: Int, bias: Bool) throws(MoruError) -> Linear {
            try weights.linear(path, inputs: dim, outputs: outputs, bias: bias)
        }
        let pooler = (base as? Bert)?.pooler
        if takesPooler, let pooler, pooler.path == layout.hidden {
            hidden = pooler
        } else {
            hidden = try layout.hidden.map { path throws(MoruError) in try linear(path, outputs: dim, bias: true) }
        }
        output = try linear(layout.output, outputs: count, bias: layout.hasBias)
        (activation, moduleNames) = (layout.activation, layout.modules)
        (dropsOutTwice, readsLastToken) = (layout.dropsOutTwice, layout.readsLastToken)
    }

    /// Whether a sequence's first row says what it is.
    var readsFirstRow: Bool { configuration.place == .sequence && !readsLastToken }

    /// The parameters, in the order of the layers.
    public var parameters: [Parameter] { (hidden?.parameters ?? []) + output.parameters }

    /// Where BERT's layer before the last one lies.
    static let poolerPath = "bert.pooler.dense"

    /// The name of the last layer's weight.
    static func outputName(_ place: HeadConfiguration.Place, for base: TextModelFacts) -> String {
        Layout(place, architecture: base.architecture).output + ".weight"
    }

    /// The logits of a batch: [sequences, labels], or [tokens, labels] for a head that looks at tokens.
    ///
    /// - Parameters:
    ///   - states: The hidden states [tokens, D] of the batch.
    ///   - segments: Where each sequence lies among them; none is empty.
    ///   - dropout: The source of dropout's randomness; nil outside training.
    public func logits(_ states: Tensor, segments: [Range<Int>], dropout: DropoutSource? = nil) -> Tensor {
        func dropped(_ x: Tensor) -> Tensor { dropout?.apply(x, probability: configuration.dropout) ?? x }
        guard configuration.place == .sequence else { return output(dropped(states)) }
        let rows = states.gatheringRows(segments.map { readsFirstRow ? $0.lowerBound : $0.upperBound - 1 })
        guard let hidden else { return rows.inFewRows { output(dropped($0)) } }
        return rows.inFewRows { rows in
            let x = hidden(dropsOutTwice ? dropped(rows) : rows)
            return output(dropped(x.activated(by: activation)))
        }
    }

    /// Which layers there are, and what they are called.
    private struct Layout {
        var hidden: String?
        var output: String
        var hasBias = true
        var activation = Activation.tanh
        var dropsOutTwice = false
        var readsLastToken = false
        var modules: [String]

        init(_ place: HeadConfiguration.Place, architecture: String) {
            let isSequence = place == .sequence
            (output, modules) = ("classifier", ["classifier"])
            switch architecture {
            case "bert":
                if isSequence { (hidden, modules) = (poolerPath, ["pooler", "classifier"]) }
            case "distilbert":
                activation = .relu
                if isSequence { (hidden, modules) = ("pre_classifier", ["pre_classifier", "classifier"]) }
            case "roberta", "xlm-roberta", "camembert":
                dropsOutTwice = true
                if isSequence { (hidden, output) = ("classifier.dense", "classifier.out_proj") }
            default:
                readsLastToken = true
                if !isSequence, architecture == "gpt2" { return }
                (output, modules, hasBias) = ("score", ["score"], !isSequence)
            }
        }
    }
}

extension Tensor {
    /// What layers make of rows [N, D], computed a few at a time, so that a row's result is the same however many there
    /// are; in training all together.
    func inFewRows(_ body: (Tensor) -> Tensor) -> Tensor {
        guard !isTracked, shape[0] > Runtime.fewRows else { return body(self) }
        return Tensor.concatenated(
            stride(from: 0, to: shape[0], by: Runtime.fewRows).map { begin in
                body(rows(begin..<min(shape[0], begin + Runtime.fewRows)))
            })
    }
}
