import Foundation

extension Tensor {
    /// The summed binary cross-entropy of logits against targets from 0 to 1, in nats: each element is a yes or no of
    /// its own, as where a text has several labels.
    ///
    /// - Parameter targets: As many as there are elements.
    /// - Returns: A scalar.
    public func binaryCrossEntropy(_ targets: [Float]) -> Tensor {
        precondition(targets.count == count, "binaryCrossEntropy: \(targets.count) targets for \(shape)")
        let logits = values()
        var total = 0.0
        let gradient = Tensor(uninitialized: shape)
        for (index, (x, y)) in zip(logits, targets).enumerated() {
            // log(1 + e^x) - x y, written so that nothing overflows
            total += Double(max(x, 0) - x * y) + log1p(exp(-Double(abs(x))))
            gradient.floats[index] = Float(1 / (1 + exp(-Double(x)))) - y
        }
        let backend = Runtime.shared.backend
        return Tensor(Float(total)).recording(promoted()) { [backend.scale(gradient, by: $0.scalar)] }
    }
}
