import MoruTensor

/// Which optimizer moves the parameters, and how.
public struct OptimizerSettings: Sendable, Hashable {
    /// The optimizers.
    public enum Kind: String, Sendable, Hashable, CaseIterable {
        /// Adam with decoupled weight decay: ``AdamW``.
        case adamw
        /// AdamW with moments in 8 bits: ``AdamW8Bit``.
        case adamw8Bit = "adamw_8bit"
        /// Little memory, by factored second moments: ``Adafactor``.
        case adafactor
        /// The sign of a momentum: ``Lion``.
        case lion
        /// Orthogonalised momentum for matrices: ``Muon``.
        case muon
        /// Gradient descent: ``SGD``.
        case sgd
    }

    /// Which optimizer.
    public var kind: Kind
    /// Decay of the first and of the second moment; nil for the optimizer's usual ones. Adafactor and SGD have none.
    public var beta1: Float?, beta2: Float?
    /// What is added to the root of the second moment (AdamW in f32 and 8 bits, Muon's AdamW); nil for 1e-8.
    public var epsilon: Float?
    /// The momentum of SGD and of Muon; nil for their usual one.
    public var momentum: Float?
    /// Whether SGD's momentum looks ahead (Nesterov, 1983). Muon's always does.
    public var isNesterov: Bool
    /// The share of each matrix that a step of rate 1 would take away.
    public var weightDecay: Float
    /// Whether embedding tables and output heads decay too.
    public var decaysEmbeddings: Bool
    /// Whether vectors (norms, biases) decay too.
    public var decaysVectors: Bool
    /// What each layer's learning rate is multiplied by from one layer to the one below it (Clark et al., 2020); 1 for
    /// the same rate everywhere.
    public var layerDecay: Float

    /// Makes settings.
    public init(
        _ kind: Kind = .adamw, beta1: Float? = nil, beta2: Float? = nil, epsilon: Float? = nil,
        momentum: Float? = nil, isNesterov: Bool = false, weightDecay: Float = 0, decaysEmbeddings: Bool = true,
        decaysVectors: Bool = false, layerDecay: Float = 1
    ) {
        self.kind = kind
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.momentum = momentum
        self.isNesterov = isNesterov
        self.weightDecay = weightDecay
        self.decaysEmbeddings = decaysEmbeddings
        self.decaysVectors = decaysVectors
        self.layerDecay = layerDecay
    }

    /// How many bytes the optimizer of some parameters remembers; what its ``Optimizer/state`` will take.
    public func stateBytes(of parameters: [Parameter]) -> Int {
        let optimizer = make([])
        return zip(parameters, treatments(of: parameters)).reduce(0) { sum, pair in
            optimizer.memory(of: pair.0.value.shape, isTable: pair.1.isTable).reduce(sum) { $0 + $1.byteCount }
        }
    }

    /// The optimizer of these settings, which has taken no step.
    public func make(_ parameters: [Parameter]) -> any Optimizer {
        let treatments = treatments(of: parameters)
        switch kind {
        case .adamw: return AdamW(parameters, adamW(beta2: 0.999), treatments: treatments)
        case .adamw8Bit: return AdamW8Bit(parameters, adamW(beta2: 0.999), treatments: treatments)
        case .adafactor:
            return Adafactor(parameters, Adafactor.Configuration(weightDecay: weightDecay), treatments: treatments)
        case .lion:
            return Lion(
                parameters,
                Lion.Configuration(beta1: beta1 ?? 0.9, beta2: beta2 ?? 0.99, weightDecay: weightDecay),
                treatments: treatments)
        case .muon:
            return Muon(
                parameters,
                Muon.Configuration(
                    momentum: momentum ?? 0.95, weightDecay: weightDecay, rest: adamW(beta2: 0.95)),
                treatments: treatments)
        case .sgd:
            return SGD(
                parameters,
                SGD.Configuration(momentum: momentum ?? 0.9, isNesterov: isNesterov, weightDecay: weightDecay),
                treatments: treatments)
        }
    }

    /// AdamW's settings, where nothing else is said with this decay of the second moment.
    private func adamW(beta2 usual: Float) -> AdamW.Configuration {
        AdamW.Configuration(
            beta1: beta1 ?? 0.9, beta2: beta2 ?? usual, epsilon: epsilon ?? 1e-8, weightDecay: weightDecay)
    }
}
