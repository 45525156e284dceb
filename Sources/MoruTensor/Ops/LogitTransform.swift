/// What a language model makes of the products of its last hidden states with its output projection: nothing in most.
public struct LogitTransform: Sendable, Hashable {
    /// What they are multiplied by (Granite divides by its `logits_scaling`).
    public var scale: Float
    /// Then logits become `softcap * tanh(logit / softcap)` (Gemma 2); nil for none.
    public var softcap: Float?

    /// Makes a transform.
    public init(scale: Float = 1, softcap: Float? = nil) {
        self.scale = scale
        self.softcap = softcap
    }

    /// The products as they are.
    public static let none = LogitTransform()

    /// The hidden states that give scaled logits: there are fewer of them than of logits.
    func scaling(_ hidden: Tensor) -> Tensor { scale == 1 ? hidden : hidden * scale }

    /// Caps logits; nothing follows the gradient.
    func capping(_ logits: Tensor, _ backend: some Backend) -> Tensor {
        softcap.map { backend.softcap(logits, $0) } ?? logits
    }

    /// Turns the gradient of capped logits into that of the logits before.
    func uncapping(_ gradient: Tensor, of capped: Tensor, _ backend: some Backend) -> Tensor {
        softcap.map { backend.softcapBackward(gradient, y: capped, $0) } ?? gradient
    }
}

extension Tensor {
    /// The logits [N, V] of these hidden states [N, D].
    ///
    /// - Parameter weight: The output projection [V, D], in any dtype.
    public func logits(_ weight: Tensor, _ transform: LogitTransform = .none) -> Tensor {
        let products = transform.scaling(self).linear(weight)
        return transform.softcap.map { products.softcapped($0) } ?? products
    }
}
