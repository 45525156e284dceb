import MoruBase
import MoruModels
import MoruNN
import MoruTensor

/// Every parameter of the model moves. What is saved is a whole model in Hugging Face layout.
public struct FullMethod: TrainingMethod {
    /// The model, which is changed in place.
    public let model: PretrainedModel
    /// Every parameter.
    public let parameters: [Parameter]
    private let dtype: DType?

    /// Makes a method. The model's weights become f32, in place.
    ///
    /// - Parameter dtype: How the result is stored; nil keeps it as it was learnt, in f32.
    /// - Throws: ``MoruError/Code/methodUnsupported`` for a quantised model.
    public init(_ model: PretrainedModel, savingAs dtype: DType? = nil) throws(MoruError) {
        if let quantized = model.model.parameters.first(where: { $0.value.dtype.isQuantized }) {
            throw MoruError(
                .methodUnsupported,
                "\(model.path): \(quantized.path) is quantised (\(quantized.value.dtype.rawValue)), so that it cannot "
                    + "be moved: full tuning needs dense weights",
                remedy: "tune a LoRA adapter beside the quantised weights (method: lora), "
                    + "or start from the model's dense weights")
        }
        self.model = model
        self.dtype = dtype
        parameters = model.model.parameters
        parameters.makeTrainable()
    }

    /// Nothing is dropped out.
    public var usesDropout: Bool { false }
    /// A whole model.
    public var resultBytes: Int? { model.storedBytes(dtype) }
    /// A whole model.
    public var resultName: String { RunDirectory.modelName }
    /// Writes the model in Hugging Face layout.
    public func save(to directory: String) throws { try model.save(to: directory, dtype: dtype) }
}

/// The last layers move, with the final normalisation; the layers before them stay and need no backward pass. What is
/// saved is a whole model in Hugging Face layout.
public struct LastLayersMethod: TrainingMethod {
    /// The model, which is changed in place.
    public let model: PretrainedModel
    /// The parameters that move.
    public let parameters: [Parameter]
    private let dtype: DType?

    /// Makes a method. The weights that move become f32, in place; quantised ones are thereby written out.
    ///
    /// - Parameters:
    ///   - count: How many layers move.
    ///   - includesHead: Whether the output projection moves too; where it is tied to the embeddings, so do they.
    ///   - dtype: How the result is stored; nil keeps dense weights as they are held.
    /// - Throws: ``MoruError/Code/methodUnsupported`` when the model does not have so many layers.
    public init(
        _ model: PretrainedModel, count: Int, includesHead: Bool = false, savingAs dtype: DType? = nil
    ) throws(MoruError) {
        let layers = model.model.facts.layerCount
        guard 1...layers ~= count else {
            throw MoruError(
                .methodUnsupported, "\(model.path): the last \(count) layers of \(layers) cannot be tuned",
                remedy: "choose 1 to \(layers)")
        }
        self.model = model
        self.dtype = dtype
        let head = model.model.outputProjection
        parameters = model.model.parameters.filter { parameter in
            if parameter === head { return includesHead }
            // Outside the layers vectors are the final normalisation's, matrices are embeddings
            guard let layer = Self.layer(of: parameter) else { return parameter.value.rank == 1 }
            return layer >= layers - count
        }
        parameters.makeTrainable()
    }

    /// The layer that a parameter such as `model.layers.3.mlp.up_proj.weight` belongs to.
    static func layer(of parameter: Parameter) -> Int? {
        parameter.path.split(separator: ".").lazy.compactMap { Int($0) }.first
    }

    /// Nothing is dropped out.
    public var usesDropout: Bool { false }
    /// A whole model.
    public var resultBytes: Int? { model.storedBytes(dtype) }
    /// A whole model.
    public var resultName: String { RunDirectory.modelName }
    /// Writes the model in Hugging Face layout.
    public func save(to directory: String) throws { try model.save(to: directory, dtype: dtype) }
}

extension PretrainedModel {
    fileprivate func storedBytes(_ dtype: DType?) -> Int { MoruTraining.storedBytes(of: model.parameters, dtype) }
}

/// Bytes that a model's parameters take once saved; quantised weights are written out in f32.
func storedBytes(of parameters: [Parameter], _ dtype: DType?) -> Int {
    parameters.reduce(0) { sum, parameter in
        let value = parameter.value
        return sum + value.count * (dtype ?? (value.dtype.isQuantized ? .f32 : value.dtype)).blockBytes
    }
}

extension [Parameter] {
    /// Gives the parameters f32 values, as gradients need.
    func makeTrainable() {
        for parameter in self where parameter.value.dtype != .f32 {
            parameter.value = parameter.value.converted(to: .f32)
        }
    }
}

extension MoruError.Code {
    /// A tuning method that the model does not allow.
    public static let methodUnsupported = MoruError.Code("method.unsupported", .unsupported)
}
