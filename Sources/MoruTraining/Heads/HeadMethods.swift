import MoruBase
import MoruModels
import MoruNN
import MoruTensor

/// An adapter's parameters move, and the head's in full; the base stays. What is saved is the adapter in PEFT's layout,
/// the head among its `modules_to_save`.
public struct HeadAdapterMethod: TrainingMethod {
    /// The model, with the adapter.
    public let model: HeadedModel
    /// The adapter.
    public let adapter: any Adapter
    /// The base model's name, which the saved adapter notes.
    public let baseModel: String
    /// The adapter's parameters, then the head's.
    public let parameters: [Parameter]

    /// Makes a method.
    public init(_ model: HeadedModel, adapter: any Adapter, baseModel: String) {
        (self.model, self.adapter, self.baseModel) = (model.adapted(by: adapter), adapter, baseModel)
        parameters = adapter.parameters + model.head.parameters
        parameters.makeTrainable()
    }

    /// Whether the adapter or the head drops anything out.
    public var usesDropout: Bool { adapter.usesDropout || model.configuration.dropout > 0 }

    /// Writes the adapter and the head.
    public func save(to directory: String) throws {
        try adapter.save(to: directory, baseModel: baseModel, withHeadOf: model)
    }
}

/// The head moves, and as much of the model below it as is asked for. What is saved is the whole model with its head, as
/// transformers loads it.
public struct HeadModelMethod: TrainingMethod {
    /// How much of the model below the head moves.
    public enum Extent: Sendable, Hashable {
        /// Nothing: what a linear classifier can tell from the model as it is.
        case head
        /// The last layers.
        case lastLayers(Int)
        /// Everything.
        case full
    }

    /// The model, which is changed in place.
    public let model: HeadedModel
    /// The parameters that move.
    public let parameters: [Parameter]
    private let dtype: DType?

    /// Makes a method. The weights that move become f32, in place.
    ///
    /// - Parameter dtype: How the result is stored; nil keeps dense weights as they are held.
    /// - Throws: ``MoruError/Code/methodUnsupported`` for quantised weights that would have to move, or a number of
    ///   layers that the model does not have.
    public init(_ model: HeadedModel, _ extent: Extent, savingAs dtype: DType? = nil) throws(MoruError) {
        (self.model, self.dtype) = (model, dtype)
        let moving: [Parameter]
        let instead = " or the head alone (method: head)"
        switch extent {
        case .head: moving = []
        case .full: moving = try model.trunk.movingParameters(instead: instead)
        case .lastLayers(let count): moving = try model.trunk.movingParameters(lastLayers: count, instead: instead)
        }
        parameters = moving + model.head.parameters
        parameters.makeTrainable()
    }

    /// Whether the head drops anything out.
    public var usesDropout: Bool { model.configuration.dropout > 0 }
    /// A whole model.
    public var resultBytes: Int? { storedBytes(of: model.parameters, dtype) }
    /// A whole model.
    public var resultName: String { RunDirectory.modelName }
    /// Writes the model with its head in Hugging Face layout.
    public func save(to directory: String) throws { try model.save(to: directory, dtype: dtype) }
}

extension PretrainedTextModel {
    /// The parameters that tuning the model itself moves.
    ///
    /// - Parameters:
    ///   - count: How many of the last layers; nil for everything.
    ///   - instead: What else to do than LoRA where the weights are quantised.
    /// - Throws: ``MoruError/Code/methodUnsupported`` for quantised weights, or a number of layers that the model does
    ///   not have.
    func movingParameters(lastLayers count: Int? = nil, instead: String) throws(MoruError) -> [Parameter] {
        var moving = base.hiddenStateParameters
        if let count {
            let layers = base.facts.layerCount
            guard 1...layers ~= count else {
                throw MoruError(
                    .methodUnsupported, "\(path): the last \(count) layers of \(layers) cannot be tuned",
                    remedy: "choose 1 to \(layers)")
            }
            moving.removeAll { parameter in
                // Outside the layers of a decoder vectors are the last normalisation's, of an encoder the embeddings'
                guard let layer = LastLayersMethod.layer(of: parameter) else {
                    return isEncoder || parameter.value.rank != 1
                }
                return layer < layers - count
            }
        }
        if let quantized = moving.first(where: { $0.value.dtype.isQuantized }) {
            throw MoruError(
                .methodUnsupported,
                "\(path): \(quantized.path) is quantised (\(quantized.value.dtype.rawValue)), so that it cannot be moved",
                remedy: "tune a LoRA adapter beside the quantised weights (method: lora)\(instead), or start from the "
                    + "model's dense weights")
        }
        return moving
    }
}
