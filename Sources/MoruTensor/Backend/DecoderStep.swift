/// The steps of a decoder's layer, in their order. The threads share each, and meet before the next. Those of updates
/// compute the inner products of low-rank ones, where there are any.
enum DecoderStep: Int, CaseIterable {
    /// Adds what the layer before left to the residual stream, normalises it, and rounds it for the products.
    case attentionInput
    case queryKeyValueUpdates
    case queryKeyValue
    /// Turns queries and keys, and stores keys and values in the caches.
    case positions
    case attention
    /// Joins what the threads have made of each row's keys.
    case joining
    case outputUpdates
    case output
    /// Adds attention's result to the residual stream, and normalises and rounds it. The last step of a layer with a
    /// mixture of experts.
    case feedForwardInput
    case gateUpUpdates
    case gateUp
    /// Multiplies by the activation of the gate.
    case gating
    case downUpdates
    case down

    /// How many steps of a layer have read weights when this one ends.
    var productsBefore: Int {
        switch self {
        case .attentionInput, .queryKeyValueUpdates: 0
        case .queryKeyValue, .positions, .attention, .joining, .outputUpdates: 1
        case .output, .feedForwardInput, .gateUpUpdates: 2
        case .gateUp, .gating, .downUpdates: 3
        case .down: 4
        }
    }
}
