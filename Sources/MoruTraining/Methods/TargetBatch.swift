import MoruModels
import MoruNN
import MoruTensor

/// Examples as a batch, with what the model is to predict.
struct TargetBatch {
    /// What the model reads.
    private(set) var tokens = TokenBatch()
    /// The rows whose next token is a target.
    private(set) var rows: [Int] = []
    /// The target of each of these rows.
    private(set) var targets: [Int32] = []
    /// Where each example's lie among ``rows`` and ``targets``.
    private(set) var ranges: [Range<Int>] = []

    init(_ examples: some Sequence<TokenizedExample>, adapter: (any Adapter)?, dropout: DropoutSource?) {
        for example in examples {
            let (begin, first) = (tokens.count, rows.count)
            tokens.append(example.inputs, adapter: adapter)
            for position in example.tokens.indices where example.isTarget[position] {
                rows.append(begin + position - 1)
                targets.append(example.tokens[position])
            }
            ranges.append(first..<rows.count)
        }
        tokens.dropout = dropout
    }
}

extension LanguageModel {
    /// The cross-entropy of a batch in nats, summed over its targets. While gradients are computed, a mixture of experts
    /// whose configuration asks for it (`output_router_logits`) adds its load-balancing loss for each target.
    func summedLoss(of batch: TargetBatch) -> Tensor {
        var tokens = batch.tokens
        let record = routerLoss.map { _ in RoutingRecord() }
        tokens.routing = record
        let hidden = hiddenStates(tokens)
        let chosen = batch.rows.count == tokens.count ? hidden : hidden.gatheringRows(batch.rows)
        let loss = crossEntropy(chosen, batch.targets)
        guard hidden.isTracked, let record, let balance = routerLoss?(record) else { return loss }
        return loss + balance * Float(batch.targets.count)
    }
}

extension TextModel {
    /// A hash of the configuration and of a sample of the weights.
    var fingerprintText: String {
        var weights = Fingerprint()
        weights.add(configurationJSON.text(sortedKeys: true))
        for parameter in parameters {
            weights.add(parameter.path)
            weights.add(parameter.value)
        }
        return weights.description
    }

    /// Names a parameter of the model or of an adapter that is not finite.
    func diagnosis(_ adapter: (any Adapter)?) -> String? {
        if let path = firstNonFiniteParameter() {
            return "\(path) of the base model holds numbers that are not finite"
        }
        guard let parameter = adapter?.parameters.first(where: { !$0.value.isFinite }) else { return nil }
        return "\(parameter.path) of the adapter holds numbers that are not finite"
    }
}
