import MoruBase
import MoruNN

extension IA3Adapter {
    /// Reads an adapter in PEFT's layout for a model.
    convenience init(_ file: PEFTFile, for model: any TextModel) throws(MoruError) {
        try file.requireAbsent(["modules_to_save"])
        try file.checkOrientation(for: model)
        var layers: [String: LayerAdaptation] = [:]
        var (parameters, byInput): ([Parameter], Set<String>) = ([], [])
        for layer in model.linears {
            let name = Self.parameterName(layer.path)
            guard let shape = file.tensors.info(file.fileName(of: name))?.shape else { continue }
            // A row scales the input, a column the output
            let scalesInput = shape.first == 1 && layer.outputs > 1
            let scale = try file.parameter(name, shape: scalesInput ? [1, layer.inputs] : [layer.outputs, 1])
            layers[layer.path] = scalesInput ? .inputScale(scale) : .outputScale(scale)
            parameters.append(scale)
            if scalesInput { byInput.insert(layer.path) }
        }
        try file.requireAllUsed(parameters)
        let adapted = model.linears.filter { layers[$0.path] != nil }
        let configuration = IA3Configuration(
            targets: try file.targets("target_modules", adapted: Set(layers.keys), among: model.linears),
            inputTargets: try file.targets("feedforward_modules", adapted: byInput, among: adapted))
        self.init(configuration: configuration, layers: layers)
    }
}
