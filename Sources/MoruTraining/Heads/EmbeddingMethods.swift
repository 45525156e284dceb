import MoruBase
import MoruModels
import MoruNN
import MoruTensor

/// An adapter's parameters move, the model and what makes vectors of its states stay. What is saved is the adapter, with
/// the pooling beside it.
public struct EmbeddingAdapterMethod: TrainingMethod {
    /// The model, with the adapter.
    public let embedder: TextEmbedder
    /// The adapter.
    public let adapter: any Adapter
    /// The base model's name, which the saved adapter notes.
    public let baseModel: String

    /// The adapter's parameters.
    public var parameters: [Parameter] { adapter.parameters }
    /// Whether the adapter drops inputs out.
    public var usesDropout: Bool { adapter.usesDropout }
    /// Writes the adapter in PEFT's layout, with sentence-transformers' modules.
    public func save(to directory: String) throws {
        try adapter.save(to: directory, baseModel: baseModel, withModulesOf: embedder)
    }
}

/// The model itself moves, or its last layers, and projections after the pooling. What is saved is a directory of
/// sentence-transformers.
public struct EmbeddingModelMethod: TrainingMethod {
    /// The model, which is changed in place.
    public let embedder: TextEmbedder
    /// The parameters that move.
    public let parameters: [Parameter]
    private let dtype: DType?

    /// Makes a method. The weights that move become f32, in place.
    ///
    /// - Parameters:
    ///   - layers: How many of the last layers move; nil for everything.
    ///   - dtype: How the result is stored; nil keeps dense weights as they are held.
    /// - Throws: ``MoruError/Code/methodUnsupported`` for quantised weights that would have to move, or a number of
    ///   layers that the model does not have.
    public init(_ embedder: TextEmbedder, lastLayers layers: Int? = nil, savingAs dtype: DType? = nil) throws(MoruError)
    {
        (self.embedder, self.dtype) = (embedder, dtype)
        let moving = try embedder.model.movingParameters(lastLayers: layers, instead: "")
        parameters = moving + embedder.modules.parameters
        parameters.makeTrainable()
    }

    /// Nothing is dropped out.
    public var usesDropout: Bool { false }
    /// A whole model.
    public var resultBytes: Int? {
        storedBytes(of: embedder.model.base.parameters + embedder.modules.parameters, dtype)
    }
    /// A whole model.
    public var resultName: String { RunDirectory.modelName }
    /// Writes the model as sentence-transformers does.
    public func save(to directory: String) throws { try embedder.save(to: directory, dtype: dtype) }
}
