import CMoruKernels

/// A layer of a decoder without references, so that threads that share its steps count none. Valid while the
/// ``DecoderLayer`` lives that it is made of.
struct CPUDecoderLayer {
    /// A fully connected layer.
    struct Projection {
        let weight: FewRowsWeight
        let bias: UnsafePointer<Float>?
        /// Its place in the lists of updates.
        let place: Int?

        var outputs: Int { weight.outputs }

        init(_ projection: DecoderLayer.Projection, _ threads: ThreadPool) {
            weight = FewRowsWeight(projection.weight, threads: threads)
            bias = projection.bias.map { UnsafePointer($0.floats) }
            place = projection.place
        }
    }

    /// What follows attention, unless it is a mixture of experts.
    struct FeedForward {
        let gate, up, down: Projection
        let activation: Activation
    }

    let query, key, value, output: Projection
    /// Nil for a mixture of experts.
    let feedForward: FeedForward?
    let inputNorm, feedForwardNorm: UnsafePointer<Float>
    let queryNorm, keyNorm, postAttentionNorm, postFeedForwardNorm: UnsafePointer<Float>?
    let epsilon, residualScale: Float
    let heads, headDim: Int
    let options: AttentionOptions
    let angles: Int?
    /// The layer's number in the caches.
    let number: Int

    /// Whether the input of products is rounded to 8 bits.
    func roundsInput(of products: DecoderProducts) -> Bool {
        switch products {
        case .queryKeyValue: query.weight.isPacked || key.weight.isPacked || value.weight.isPacked
        case .output: output.weight.isPacked
        case .gateUp: feedForward.map { $0.gate.weight.isPacked || $0.up.weight.isPacked } ?? false
        case .down: feedForward?.down.weight.isPacked ?? false
        }
    }
    var keyHeads: Int { key.outputs / headDim }
    /// Whether what attention gives goes to the residual stream column by column: nothing normalises it before.
    var addsAttention: Bool { postAttentionNorm == nil }
    /// The same of what a dense feed-forward gives.
    var addsFeedForward: Bool { feedForward != nil && postFeedForwardNorm == nil }
    /// Elements of queries, keys, and between gate and down (0 for a mixture of experts).
    let sizes: Sizes

    /// The weights of products, those of products beside each other together.
    func weights(of products: DecoderProducts) -> [[FewRowsWeight]] {
        switch products {
        case .queryKeyValue: [[query.weight], [key.weight], [value.weight]]
        case .output: [[output.weight]]
        case .gateUp: feedForward.map { [[$0.gate.weight, $0.up.weight]] } ?? []
        case .down: feedForward.map { [[$0.down.weight]] } ?? []
        }
    }

    struct Sizes {
        var queries, keys, inner: Int

        /// Room for both.
        func union(_ other: Sizes) -> Sizes {
            Sizes(queries: max(queries, other.queries), keys: max(keys, other.keys), inner: max(inner, other.inner))
        }
    }

    init(_ layer: DecoderLayer, _ threads: ThreadPool) {
        func floats(_ norm: Tensor?) -> UnsafePointer<Float>? { norm.map { UnsafePointer($0.floats) } }
        query = Projection(layer.query, threads)
        key = Projection(layer.key, threads)
        value = Projection(layer.value, threads)
        output = Projection(layer.output, threads)
        if case .dense(let gate, let up, let down) = layer.feedForward {
            feedForward = FeedForward(
                gate: Projection(gate, threads), up: Projection(up, threads), down: Projection(down, threads),
                activation: layer.activation)
        } else {
            feedForward = nil
        }
        sizes = Sizes(queries: query.outputs, keys: key.outputs, inner: feedForward?.gate.outputs ?? 0)
        (inputNorm, feedForwardNorm) = (
            UnsafePointer(layer.inputNorm.floats), UnsafePointer(layer.feedForwardNorm.floats)
        )
        (queryNorm, keyNorm) = (floats(layer.queryNorm), floats(layer.keyNorm))
        (postAttentionNorm, postFeedForwardNorm) = (floats(layer.postAttentionNorm), floats(layer.postFeedForwardNorm))
        (epsilon, residualScale) = (layer.epsilon, layer.residualScale)
        (heads, headDim) = (layer.heads, layer.query.weight.shape[0] / layer.heads)
        (options, angles, number) = (layer.attention, layer.angles, layer.number)
    }
}

/// ``RotaryAngles`` without references, likewise.
struct CPUDecoderAngles {
    /// [rows, rotated / 2].
    let cosines, sines: UnsafePointer<Float>
    let rotated: Int
    let interleaved: Bool

    init(_ angles: RotaryAngles) {
        (cosines, sines) = (UnsafePointer(angles.cosines.floats), UnsafePointer(angles.sines.floats))
        (rotated, interleaved) = (angles.rotated, angles.interleaved)
    }
}
