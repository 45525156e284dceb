import MoruBase
import MoruTensor

/// How a parameter begins when no file gives it a value.
public enum Initialization: Sendable, Hashable {
    /// All zeros.
    case zeros
    /// All ones.
    case ones
    /// Normally distributed around 0.
    case normal(standardDeviation: Float)
}

/// Where a model's parameters come from: a checkpoint, a quantised file, or a random start.
public protocol WeightSource: Sendable {
    /// The tensor of a parameter.
    ///
    /// - Throws: ``MoruError/Code/weightMissing`` or ``MoruError/Code/weightShape``, naming the file and tensor.
    func weight(_ path: String, shape: [Int], _ initialization: Initialization) throws(MoruError) -> Tensor
    /// Whether there is such a tensor.
    func contains(_ path: String) -> Bool
}

/// A place in a tree of parameters, from which layers ask for theirs by name.
///
///     let attention = weights["self_attn"]
///     let query = try attention.linear("q_proj", inputs: 576, outputs: 576)
public struct Weights: Sendable {
    /// The source of every tensor.
    public let source: any WeightSource
    /// The names above, joined by dots.
    public let path: String

    /// The root of a tree.
    public init(_ source: any WeightSource) {
        self.source = source
        path = ""
    }

    private init(source: any WeightSource, path: String) {
        self.source = source
        self.path = path
    }

    /// The place below, by name.
    public subscript(_ name: String) -> Weights { Weights(source: source, path: join(name)) }
    /// The place below, by number.
    public subscript(_ index: Int) -> Weights { self[String(index)] }

    /// The full path of a name at this place.
    public func join(_ name: String) -> String { path.isEmpty ? name : "\(path).\(name)" }

    /// Whether the source has a tensor of this name here.
    public func contains(_ name: String) -> Bool { source.contains(join(name)) }

    /// A parameter; vectors are held in f32, matrices as they are stored.
    ///
    /// - Throws: As ``WeightSource/weight(_:shape:_:)``.
    public func parameter(
        _ name: String, _ shape: [Int], _ initialization: Initialization = .normal(standardDeviation: 0.02)
    ) throws(MoruError) -> Parameter {
        let tensor = try source.weight(join(name), shape: shape, initialization)
        return Parameter(join(name), shape.count < 2 ? tensor.converted(to: .f32) : tensor)
    }

    /// A fully connected layer with parameters `name.weight` [outputs, inputs] and, if wanted, `name.bias` [outputs].
    public func linear(
        _ name: String, inputs: Int, outputs: Int, bias: Bool = false,
        _ initialization: Initialization = .normal(standardDeviation: 0.02)
    ) throws(MoruError) -> Linear {
        let place = self[name]
        return Linear(
            path: place.path, weight: try place.parameter("weight", [outputs, inputs], initialization),
            bias: bias ? try place.parameter("bias", [outputs], .zeros) : nil)
    }

    /// An embedding table `name.weight` [count, dim].
    public func embedding(_ name: String, count: Int, dim: Int) throws(MoruError) -> Embedding {
        Embedding(weight: try self[name].parameter("weight", [count, dim]))
    }

    /// A root-mean-square normalisation `name.weight` [dim].
    public func rmsNorm(
        _ name: String, dim: Int, epsilon: Float, unitOffset: Bool = false
    ) throws(MoruError) -> RMSNorm {
        let weight = try self[name].parameter("weight", [dim], unitOffset ? .zeros : .ones)
        return RMSNorm(weight: weight, epsilon: epsilon, unitOffset: unitOffset)
    }

    /// A layer normalisation `name.weight`, `name.bias` [dim].
    public func layerNorm(_ name: String, dim: Int, epsilon: Float, bias: Bool = true) throws(MoruError) -> LayerNorm {
        LayerNorm(
            weight: try self[name].parameter("weight", [dim], .ones),
            bias: bias ? try self[name].parameter("bias", [dim], .zeros) : nil, epsilon: epsilon)
    }
}
