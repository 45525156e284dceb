/// A model in use. A model is not unloaded while there is a lease on it, so every request holds one until its answer is
/// complete.
final class ModelLease: Sendable {
    /// The model.
    let model: ServedModel
    private let onEnd: @Sendable () -> Void

    /// Makes a lease; `onEnd` is called once, when the last reference to it is gone.
    init(_ model: ServedModel, onEnd: @escaping @Sendable () -> Void = {}) {
        (self.model, self.onEnd) = (model, onEnd)
    }

    deinit { onEnd() }
}
