import MoruModels
import MoruNN

/// An adapter's parameters move, the model's stay: LoRA and its kin, (IA)3, prompt and prefix tuning. The base may be
/// quantised (QLoRA, Dettmers et al., 2023).
public struct AdapterMethod: TrainingMethod {
    /// The adapter.
    public let adapter: any Adapter
    /// The base model's name, which the saved adapter notes.
    public let baseModel: String

    /// Makes a method.
    public init(adapter: any Adapter, baseModel: String) {
        self.adapter = adapter
        self.baseModel = baseModel
    }

    /// The adapter's parameters.
    public var parameters: [Parameter] { adapter.parameters }
    /// Whether the adapter drops inputs out.
    public var usesDropout: Bool { adapter.usesDropout }
    /// Writes the adapter in PEFT's layout.
    public func save(to directory: String) throws { try adapter.save(to: directory, baseModel: baseModel) }
}
