/// A model in use. While a lease on it lives, a model is not unloaded: whatever answers a request holds one until the
/// answer's end.
final class ModelLease: Sendable {
    /// The model.
    let model: ServedModel
    private let onEnd: @Sendable () -> Void

    /// Makes a lease; `onEnd` is called once, when nobody holds it any more.
    init(_ model: ServedModel, onEnd: @escaping @Sendable () -> Void = {}) {
        (self.model, self.onEnd) = (model, onEnd)
    }

    deinit { onEnd() }
}
