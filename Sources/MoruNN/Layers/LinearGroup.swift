import MoruTensor

/// Fully connected layers that read the same input, computed as one: queries, keys and values, or a gate and what it
/// gates.
///
/// Each member stays a layer of its own, with its bias and its adapters, and no weight is copied.
public struct LinearGroup: Sendable {
    /// The layers.
    public let members: [Linear]

    /// Groups layers of the same number of inputs.
    public init(_ members: Linear...) {
        precondition(
            Set(members.map(\.inputs)).count <= 1,
            "\(members.map { "\($0.path) [\($0.inputs)]" }.joined(separator: ", ")) do not read the same input")
        self.members = members
    }

    /// The members' outputs of `x` [N, inputs], each [N, outputs], in their order.
    public func callAsFunction(_ x: Tensor, _ context: LayerContext = LayerContext()) -> [Tensor] {
        let runs = members.map { context.adaptations(of: $0.path) }
        let updates = runs.map { context.wholeUpdate($0, rows: x.shape[0]) }
        if zip(runs, updates).allSatisfy({ $0.isEmpty || $1 != nil }) {
            let products = x.linear(members.map(\.weight.tensor), updates: updates)
            return zip(members, products).map { $0.addingBias($1, seeing: x, context).cast(to: x.dtype) }
        }
        let products = x.linear(members.map(\.weight.tensor), as: .f32)
        return zip(members, zip(products, runs)).map { $0.completing($1.0, of: x, context, $1.1).cast(to: x.dtype) }
    }
}
