import MoruBase
import MoruNN
import MoruTensor
import MoruText

/// A text model with a head: what classifies texts, finds things in them, or tells a number of them.
public struct HeadedModel: Sendable {
    /// The model below the head.
    public let trunk: PretrainedTextModel
    /// The head.
    public let head: TextHead
    /// The adapter that acts on the model below the head; nil for none.
    public let adapter: (any Adapter)?
    /// Whether the head has learnt nothing yet.
    public let isFresh: Bool

    init(_ trunk: PretrainedTextModel, _ head: TextHead, adapter: (any Adapter)? = nil, isFresh: Bool = false) {
        (self.trunk, self.head, self.adapter, self.isFresh) = (trunk, head, adapter, isFresh)
    }

    /// The network below the head.
    public var base: any TextModel { trunk.base }
    /// The tokenizer.
    public var tokenizer: Tokenizer { trunk.tokenizer }
    /// What the head's outputs mean.
    public var configuration: HeadConfiguration { head.configuration }

    /// Opens a model that has a head: a directory as transformers' `AutoModelForSequenceClassification` and
    /// `AutoModelForTokenClassification` save it, or a base model with an adapter that brings the head along.
    ///
    /// - Parameters:
    ///   - path: A directory; with an adapter, anything that ``PretrainedTextModel`` opens.
    ///   - adapter: An adapter in PEFT's layout with a head among its `modules_to_save`.
    /// - Throws: ``MoruError/Code/headMissing`` for a model without a head, or what the formats throw.
    public static func load(_ path: String, adapter: String? = nil) throws(MoruError) -> HeadedModel {
        let trunk = try PretrainedTextModel.load(path, forHead: true)
        if let adapter { return try AdapterDirectory.load(from: adapter, forHeadOn: trunk) }
        guard let configuration = try trunk.headConfiguration else {
            throw MoruError(
                .headMissing, "\(path) has no head that classifies",
                remedy: "name a model that was tuned to (objective: classification or extraction), or the adapter that "
                    + "has the head")
        }
        return HeadedModel(trunk, try TextHead(configuration, for: trunk.base, trunk.weights))
    }

    /// Whether a model has a head, or its adapter brings one along, as their configurations say; false where there is
    /// none to read.
    public static func isHeaded(_ path: String, adapter: String? = nil) -> Bool {
        if let adapter {
            let type = (try? JSON.parse(file: adapter + "/adapter_config.json"))?["task_type"]?.string
            return type == "SEQ_CLS" || type == "TOKEN_CLS"
        }
        guard let config = try? JSON.parse(file: path + "/config.json") else { return false }
        return HeadConfiguration.place(in: config) != nil
    }

    /// Opens a base model to learn a head on: the head that it has where that is one for the same labels, else a fresh
    /// one.
    ///
    /// - Parameter seed: Decides a fresh head's start.
    /// - Throws: What the formats throw.
    public static func start(
        _ path: String, head configuration: HeadConfiguration, seed: UInt64
    ) throws(MoruError) -> HeadedModel {
        try start(PretrainedTextModel.load(path, forHead: true), head: configuration, seed: seed)
    }

    /// Puts a head on a model that was opened for one; see ``start(_:head:seed:)``.
    ///
    /// - Throws: What the formats throw.
    public static func start(
        _ trunk: PretrainedTextModel, head configuration: HeadConfiguration, seed: UInt64
    ) throws(MoruError) -> HeadedModel {
        if let stored = try trunk.headConfiguration, stored.isSame(as: configuration) {
            return HeadedModel(trunk, try TextHead(configuration, for: trunk.base, trunk.weights))
        }
        let head = try TextHead(configuration, for: trunk.base, Weights(RandomWeights(seed: seed)))
        return HeadedModel(trunk, head, isFresh: true)
    }

    /// The same model with an adapter.
    public func adapted(by adapter: (any Adapter)?) -> HeadedModel {
        HeadedModel(trunk, head, adapter: adapter, isFresh: isFresh)
    }

    /// The parameters below the head that have a part in what it sees: not the projection onto a vocabulary, nor the
    /// pooler of another head.
    public var baseParameters: [Parameter] { base.hiddenStateParameters }

    /// Every parameter, in the order of the checkpoint.
    public var parameters: [Parameter] { baseParameters + head.parameters }

    /// A batch of texts' tokens, with the adapter.
    public func batch(_ sequences: some Sequence<[Int32]>, dropout: DropoutSource? = nil) -> TokenBatch {
        TokenBatch(Array(sequences), adapter: adapter, dropout: dropout)
    }

    /// The head's logits for a batch: [sequences, labels], or [tokens, labels] for a head that looks at tokens.
    ///
    /// An encoder's first row is that of the first virtual token where prompt tuning puts some before the text, as in
    /// PEFT; tokens are those of the text.
    public func logits(_ batch: TokenBatch) -> Tensor {
        var batch = batch
        batch.showsVirtualRows = head.readsFirstRow
        return head.logits(base.hiddenStates(batch), segments: batch.resultSegments, dropout: batch.dropout)
    }
}

extension TextModel {
    /// The parameters that have a part in the hidden states: not the projection onto a vocabulary, nor BERT's pooler.
    package var hiddenStateParameters: [Parameter] {
        let unused = (self as? any LanguageModel)?.outputProjection
        let (embedding, ownPooler) = (inputEmbedding?.weight, (self as? Bert)?.pooler?.parameters ?? [])
        return parameters.filter { parameter in
            (parameter !== unused || parameter === embedding) && !ownPooler.contains { $0 === parameter }
        }
    }
}

extension PretrainedTextModel {
    /// What the model's own head tells; nil where it has none.
    ///
    /// - Throws: ``MoruError/Code/modelConfiguration``.
    var headConfiguration: HeadConfiguration? {
        get throws(MoruError) {
            guard let place = HeadConfiguration.place(in: configuration),
                weights.contains(TextHead.outputName(place, for: base.facts))
            else { return nil }
            return try HeadConfiguration(config: configuration, place: place, source: path + "/config.json")
        }
    }
}

extension HeadConfiguration {
    /// Whether a head of one configuration tells what the other's does, dropout aside.
    func isSame(as other: HeadConfiguration) -> Bool {
        place == other.place && problem == other.problem && labels == other.labels
    }
}

extension MoruError.Code {
    /// A model that has no head where one is needed.
    public static let headMissing = MoruError.Code("model.head-missing", .unsupported)
}
