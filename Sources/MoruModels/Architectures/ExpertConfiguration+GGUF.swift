import MoruBase
import MoruTensor

extension ExpertConfiguration {
    /// Reads the metadata of a GGUF file; nil where its layers have no experts.
    ///
    /// Files say nothing of the load-balancing loss, and weights are divided by their sum where they do not say
    /// otherwise, as llama.cpp does.
    init?(_ reader: GGUFConfigurationReader, layerCount: Int) throws(MoruError) {
        guard let count = reader.value("expert_count"), count.int != 0 else { return nil }
        try reader.refuse("expert_shared_count", unless: 0)
        try reader.refuse("expert_gating_func", unless: 1)
        let scale = try reader.number("expert_weights_scale", default: 1)
        guard scale == 0 || scale == 1 else {
            throw MoruError(
                .modelUnsupported,
                "\(reader.file.path): \(reader.prefix).expert_weights_scale = \(scale) is not supported, only 1 is",
                remedy: "use another model of the family \(reader.prefix)")
        }
        let normalizes = reader.value("expert_weights_norm")?.bool ?? true
        try self.init(
            count: reader.size("expert_count"),
            intermediateSize: reader.size(
                "expert_feed_forward_length", default: reader.value("feed_forward_length")?.int),
            routing: RoutingOptions(
                expertsPerToken: reader.size("expert_used_count"), normalizesWeights: normalizes),
            layers: (0..<layerCount).map { reader.file.info("blk.\($0).ffn_gate_inp.weight") != nil },
            source: reader.file.path)
    }
}

extension ExpertLayout {
    /// Where a parameter of a mixture lies in a GGUF file: all experts' matrices are one tensor,
    /// `blk.0.ffn_gate_exps.weight` [experts, outputs, inputs]; in old files each is one, `blk.0.ffn_gate.3.weight`.
    ///
    /// - Parameter file: The file that is read; nil for one that is to be written.
    func ggufEntry(
        of path: String, _ configuration: ExpertConfiguration, in file: GGUFFile?
    ) -> CheckpointWeights.Entry? {
        let parts = path.split(separator: ".").map(String.init)
        guard parts.count > 4, parts.starts(with: ["model", "layers"]), parts[3] == place else { return nil }
        if parts[4...] == ["gate", "weight"] {
            return CheckpointWeights.Entry(name: "blk.\(parts[2]).ffn_gate_inp.weight")
        }
        let names = [gate: "ffn_gate", up: "ffn_up", down: "ffn_down"]
        guard parts.count == 8, parts[4] == "experts", let expert = Int(parts[5]), let name = names[parts[6]] else {
            return nil
        }
        let single = "blk.\(parts[2]).\(name).\(expert).weight"
        if file?.info(single) != nil { return CheckpointWeights.Entry(name: single) }
        return CheckpointWeights.Entry(
            name: "blk.\(parts[2]).\(name)_exps.weight", slice: (expert, configuration.count))
    }
}
