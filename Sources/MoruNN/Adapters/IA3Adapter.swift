import MoruBase
import MoruTensor

/// Which layers an (IA)3 adapter scales.
public struct IA3Configuration: Sendable, Hashable {
    /// The last path components of the layers that are adapted, such as `k_proj`, or a ``LayerGroup``.
    public var targets: [String]
    /// Those of them whose input is scaled; of the others it is the output.
    public var inputTargets: [String]

    /// Makes a configuration.
    public init(targets: [String] = [LayerGroup.auto], inputTargets: [String] = [LayerGroup.auto]) {
        self.targets = targets
        self.inputTargets = inputTargets
    }
}

/// (IA)3 (Liu et al., 2022): learnt vectors that keys, values and the inner activations of the feed-forward are
/// multiplied by.
public final class IA3Adapter: Adapter {
    /// Which layers are scaled.
    public let configuration: IA3Configuration
    /// The scales, by the path of the layer.
    public let layers: [String: LayerAdaptation]

    /// Makes an adapter of given scales.
    public init(configuration: IA3Configuration, layers: [String: LayerAdaptation]) {
        self.configuration = configuration
        self.layers = layers
    }

    /// A fresh adapter, which changes nothing until trained: every scale is 1. Its configuration has the targets by the
    /// model's own names.
    ///
    /// - Throws: ``MoruError/Code/adapterMismatch`` when a target names no layer, or there is none.
    public convenience init(_ configuration: IA3Configuration, adapting layers: [Linear]) throws(MoruError) {
        try requireAdapter(
            !configuration.targets.isEmpty, "no layer is named to be adapted", "name some, such as k_proj and v_proj")
        var configuration = configuration
        configuration.targets = LayerGroup.scaleTargets(configuration.targets, byInput: false, of: layers)
        try requireAdapter(
            !configuration.targets.isEmpty, "the model has no layers that are known as keys, values or feed-forward",
            "name the layers to scale")
        let named = try layers.named(configuration.targets)
        configuration.inputTargets = LayerGroup.scaleTargets(configuration.inputTargets, byInput: true, of: named)
        let byInput = Set(try layers.named(configuration.inputTargets).map(\.path))
        if let stray = byInput.subtracting(named.map(\.path)).min() {
            throw MoruError(
                .adapterMismatch, "adapter: \(stray) is among the input targets, but not among the targets",
                remedy: "name it among the targets too")
        }
        var adaptations: [String: LayerAdaptation] = [:]
        for layer in named {
            let name = Self.parameterName(layer.path)
            adaptations[layer.path] =
                byInput.contains(layer.path)
                ? .inputScale(Parameter(name, .ones([1, layer.inputs])))
                : .outputScale(Parameter(name, .ones([layer.outputs, 1])))
        }
        self.init(configuration: configuration, layers: adaptations)
    }

    /// What PEFT's files call the scales of a layer.
    package static func parameterName(_ path: String) -> String { "\(path).ia3_l" }

    /// The parameters, in a fixed order.
    public var parameters: [Parameter] {
        layers.sorted { $0.key < $1.key }.compactMap { _, adaptation in
            switch adaptation {
            case .inputScale(let scale), .outputScale(let scale): scale
            case .lowRank: nil
            }
        }
    }

    /// What `adapter_config.json` says.
    public var peftConfiguration: JSONObject {
        JSONObject([
            ("peft_type", "IA3"), ("target_modules", .array(configuration.targets.map { .string($0) })),
            ("feedforward_modules", .array(configuration.inputTargets.map { .string($0) })),
            ("fan_in_fan_out", false), ("init_ia3_weights", true),
        ])
    }
}
