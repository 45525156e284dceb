/// The steps of a decoder's layer, in their order. The threads share each, and meet before the next.
///
/// A thread that has computed outputs also does what follows with them alone: adds their bias, adds them to the residual
/// stream, multiplies by the activation of the gate. What needs whole rows is done by each thread for itself when it
/// begins the next step, since waiting for one of them to do it takes longer: norms, joining attention, rounding inputs.
/// The steps of inputs are those that do it together, where rows are many and long, or where others follow no other way.
/// Those of updates compute the inner products of low-rank ones. Steps that a layer does not need are left out.
enum DecoderStep: Int, CaseIterable {
    /// Completes the residual stream, normalises it, and rounds it for the products.
    case attentionInput
    case queryKeyValueUpdates
    case queryKeyValue
    /// Turns keys, and stores them and values in the caches, where rows meet the keys of each other.
    case keys
    /// Turns queries, and what has no step of its own, and computes attention.
    case attention
    /// Joins what the threads have made of each row's keys, and rounds it.
    case outputInput
    case outputUpdates
    case output
    /// Completes the residual stream, normalises and rounds it. The last step of a layer with a mixture of experts.
    case feedForwardInput
    case gateUpUpdates
    case gateUp
    case downUpdates
    case down

    /// The products that it computes, or that come next.
    var products: DecoderProducts {
        switch self {
        case .attentionInput, .queryKeyValueUpdates, .queryKeyValue: .queryKeyValue
        case .keys, .attention, .outputInput, .outputUpdates, .output: .output
        case .feedForwardInput, .gateUpUpdates, .gateUp: .gateUp
        case .downUpdates, .down: .down
        }
    }

    /// How many products of a layer have been computed when this step ends.
    var productsBefore: Int {
        switch self {
        case .queryKeyValue, .output, .gateUp, .down: products.rawValue + 1
        default: products.rawValue
        }
    }
}

/// The products of a decoder's layer with its weights, in their order.
enum DecoderProducts: Int, CaseIterable {
    case queryKeyValue, output, gateUp, down
}
