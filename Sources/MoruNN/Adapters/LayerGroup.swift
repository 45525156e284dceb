import MoruBase

/// Names that stand for some of a model's layers among an adapter's targets, whatever the model calls them.
public enum LayerGroup {
    /// The layers that the method is meant for: of LoRA the projections of the attention (every layer where there is
    /// none), of (IA)3 keys, values and the second layer of the feed-forward.
    public static let auto = "auto"
    /// Every linear layer inside the blocks.
    public static let allLinear = "all-linear"

    /// What models call the part of a block that attends.
    fileprivate static let attention: Set = ["self_attn", "attn", "attention", "self_attention"]
    /// What models call the projections to keys and values, fused with others or not.
    private static let keysAndValues = [
        "k_proj", "v_proj", "qkv_proj", "query_key_value", "c_attn", "key", "value", "k_lin", "v_lin",
    ]
    /// What models call the second layer of the feed-forward; the names are those of PEFT's mapping.
    private static let feedForward = ["down_proj", "w2", "dense_4h_to_h", "mlp.c_proj", "output.dense", "lin2"]

    /// The targets by the model's own names, for LoRA.
    static func lowRankTargets(_ targets: [String], of layers: [Linear]) -> [String] {
        expand(targets, of: layers) {
            let projections = layers.filter { layer in
                layer.path.split(separator: ".").contains { attention.contains(String($0)) }
            }
            return layers.shortNames(of: projections.isEmpty ? layers : projections)
        }
    }

    /// The targets by the model's own names, for (IA)3.
    ///
    /// - Parameter byInput: Whether they are those whose input is scaled.
    static func scaleTargets(_ targets: [String], byInput: Bool, of layers: [Linear]) -> [String] {
        expand(targets, of: layers) {
            (byInput ? feedForward : keysAndValues + feedForward).filter { name in
                layers.contains { $0.matches(name) }
            }
        }
    }

    private static func expand(_ targets: [String], of layers: [Linear], auto names: () -> [String]) -> [String] {
        guard targets.contains(auto) || targets.contains(allLinear) else { return targets }
        var found: [String] = []
        for target in targets {
            let names = target == auto ? names() : target == allLinear ? layers.shortNames(of: layers) : [target]
            found += names.filter { !found.contains($0) }
        }
        return found
    }
}

extension [Linear] {
    /// The fewest last parts of the layers' paths that name some layers and no others, each name once.
    fileprivate func shortNames(of some: [Linear]) -> [String] {
        let paths = Set(some.map(\.path))
        let others = filter { !paths.contains($0.path) }
        var names: [String] = []
        for layer in some where !names.contains(where: { layer.matches($0) }) {
            let parts = layer.path.split(separator: ".")
            let name = (1...parts.count).lazy.map { parts.suffix($0).joined(separator: ".") }
                .first { name in !others.contains { $0.matches(name) } }
            names.append(name ?? layer.path)
        }
        return names
    }
}
