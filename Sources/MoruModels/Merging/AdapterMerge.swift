import MoruBase
import MoruNN
import MoruTensor

/// Adapters merged into the weights of the model they were made for, so that it computes the same without them.
///
/// Each adapter moves a weight by a delta: `scale * B A` for LoRA and rsLoRA, what its rescaled weight differs by for
/// DoRA, what the scaled weight differs by for (IA)3. Several are added up by their weights: `W + sum of w_i * delta_i`,
/// which for LoRA is the exact combination that PEFT calls `cat`.
public struct AdapterMerge: Sendable {
    /// An adapter and how much of it goes in; 1 is all of it.
    public struct Part: Sendable {
        /// The adapter.
        public var adapter: any Adapter
        /// What its deltas are multiplied by.
        public var weight: Float
        /// What to call it in messages.
        public var name: String

        /// Makes a part.
        public init(_ adapter: any Adapter, weight: Float = 1, name: String = "the adapter") {
            self.adapter = adapter
            self.weight = weight
            self.name = name
        }
    }

    /// The adapters.
    public let parts: [Part]
    /// The layers that change, in the model's order.
    public let layers: [Linear]

    /// Plans a merge.
    ///
    /// - Throws: ``MoruError/Code/mergeUnsupported`` for an adapter that is no change of weights,
    ///   ``MoruError/Code/adapterMismatch`` for one of another model, ``MoruError/Code/mergeSetting`` for a weight that
    ///   is not finite.
    public init(_ parts: [Part], into model: any TextModel) throws(MoruError) {
        let linears = Dictionary(model.linears.map { ($0.path, $0) }) { first, _ in first }
        for part in parts {
            if part.adapter.virtualTokens != nil {
                throw MoruError(
                    .mergeUnsupported,
                    "\(part.name) cannot be merged: it is learned tokens in front of every sequence, not a change of weights",
                    remedy: "use it beside the model with --adapter; LoRA, rsLoRA, DoRA and (IA)3 merge")
            }
            guard part.weight.isFinite else {
                throw MoruError(.mergeSetting, "the weight of \(part.name) is \(part.weight)", remedy: "1 is usual")
            }
            try part.adapter.check(fits: model, linears: linears)
        }
        self.parts = parts
        layers = model.linears.filter { layer in parts.contains { $0.adapter.layers[layer.path] != nil } }
    }

    /// Moves the model's weights, in place.
    ///
    /// - Parameters:
    ///   - dtype: How moved weights are stored; nil keeps dense ones as they are and writes quantised ones as f32.
    ///   - progress: Called with the number of layers done.
    /// - Throws: ``MoruError/Code/weightsNotFinite`` when a weight does not fit; the model is then half merged.
    public func apply(dtype: DType? = nil, progress: (Int) -> Void = { _ in }) throws(MoruError) {
        for (done, layer) in layers.enumerated() {
            progress(done)
            let moved = Runtime.withPrecision(.f32) { merged(layer) }
            layer.weight.value = try moved.weight.stored(
                as: dtype ?? layer.weight.value.dtype.denseOrF32, of: layer.weight.path)
            if let bias = layer.bias, let value = moved.bias { bias.value = try value.stored(as: .f32, of: bias.path) }
        }
        progress(layers.count)
    }

    private func merged(_ layer: Linear) -> (weight: Tensor, bias: Tensor?) {
        let (weight, bias) = (layer.weight.value.converted(to: .f32), layer.bias?.value.converted(to: .f32))
        let acting = parts.compactMap { part in part.adapter.layers[layer.path].map { ($0, part.weight) } }
        // One adapter in full is not a difference that is taken and added again, which would round twice
        if acting.count == 1, acting[0].1 == 1 { return acting[0].0.merged(weight, bias) }
        var (sum, biasSum) = (weight, bias)
        for (adaptation, share) in acting {
            let moved = adaptation.merged(weight, bias)
            sum = sum + (moved.weight - weight) * share
            if let bias, let total = biasSum, let value = moved.bias { biasSum = total + (value - bias) * share }
        }
        return (sum, biasSum)
    }
}

extension LayerAdaptation {
    /// The weight [outputs, inputs] and bias [outputs] that do what the layer does with the adaptation, all in f32.
    fileprivate func merged(_ weight: Tensor, _ bias: Tensor?) -> (weight: Tensor, bias: Tensor?) {
        switch self {
        case .lowRank(let pair):
            let moved = weight + pair.b.value.matmul(pair.a.value) * pair.scale
            guard let magnitude = pair.magnitude?.value.values() else { return (moved, bias) }
            let norms = moved.rowNorms().values()
            return (moved.multiplyingEachRow(zip(magnitude, norms).map { $0 / max($1, 1e-15) }), bias)
        case .inputScale(let scale):
            return (weight.multiplyingRow(scale.value.reshaped(weight.shape[1])), bias)
        case .outputScale(let scale):
            let factors = scale.value.values()
            return (weight.multiplyingEachRow(factors), bias.map { $0 * scale.value.reshaped(factors.count) })
        }
    }
}

extension Tensor {
    /// Each row of a matrix multiplied by a factor of its own.
    fileprivate func multiplyingEachRow(_ factors: [Float]) -> Tensor {
        let columns = shape[1]
        let result = Tensor(uninitialized: shape)
        for (row, factor) in factors.enumerated() {
            for index in row * columns..<(row + 1) * columns { result.floats[index] = floats[index] * factor }
        }
        return result
    }

    /// The values in a format that must hold them.
    ///
    /// - Throws: ``MoruError/Code/weightsNotFinite``, naming the parameter.
    func stored(as dtype: DType, of path: String) throws(MoruError) -> Tensor {
        let result = converted(to: dtype)
        guard result.converted(to: .f32).isFinite else {
            throw MoruError(
                .weightsNotFinite, "\(path) would hold numbers that are not finite as \(dtype.rawValue)",
                remedy: converted(to: .f32).isFinite
                    ? "store the weights as bf16 or f32" : "check what is merged for damage")
        }
        return result
    }
}

extension DType {
    /// How weights of this format are stored once they have changed: dense ones as they were.
    var denseOrF32: DType { isQuantized ? .f32 : self }
}

extension MoruError.Code {
    /// Something that cannot be merged into weights.
    public static let mergeUnsupported = MoruError.Code("merge.unsupported", .unsupported)
    /// Models that do not fit each other.
    public static let mergeMismatch = MoruError.Code("merge.mismatch", .invalidInput)
    /// A setting of a merge that makes no sense.
    public static let mergeSetting = MoruError.Code("merge.setting", .invalidInput)
}
