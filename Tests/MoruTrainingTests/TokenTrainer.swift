import MoruBase
import MoruModels
import MoruNN
import MoruTensor

@testable import MoruTraining

extension Trainer {
    /// A run over examples of tokens in which an adapter moves, or every parameter of the model where there is none.
    init(
        of model: any LanguageModel, _ adapter: (any Adapter)? = nil, on examples: [TokenizedExample],
        heldOut: [TokenizedExample]? = nil, settings: TrainingSettings
    ) {
        let task = LanguageModelTask(
            model: model, adapter: adapter, training: TokenizedDataset(source: "made up", examples: examples),
            validation: heldOut.map { TokenizedDataset(source: "made up", examples: $0) })
        let method: any TrainingMethod =
            adapter.map { AdapterMethod(adapter: $0, baseModel: "tiny") } ?? MovingModel(parameters: model.parameters)
        self.init(task: task, method: method, settings: settings)
    }
}

/// Every parameter of a model moves, and what is saved is the parameters alone.
private struct MovingModel: TrainingMethod {
    let parameters: [Parameter]
    var usesDropout: Bool { false }

    func save(to directory: String) throws {
        try FileSystem.writeDirectoryAtomically(to: directory) { temporary in
            try Safetensors.write(
                parameters.map { (name: $0.path, tensor: $0.value) }, to: temporary + "/model.safetensors")
        }
    }
}
