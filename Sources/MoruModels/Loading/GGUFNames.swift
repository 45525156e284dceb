/// GGUF's names for a checkpoint's tensors: `blk.0.attn_q.weight` for `model.layers.0.self_attn.q_proj.weight`.
struct GGUFNames: Sendable {
    /// The checkpoint's place of the blocks, `model.layers`.
    let blocks: String
    /// The names outside the blocks, without `weight` or `bias`.
    let outer: [String: String]
    /// The names inside a block.
    let inner: [String: String]

    /// The name of a checkpoint's tensor; nil when there is none.
    subscript(path: String) -> String? {
        guard let dot = path.lastIndex(of: ".") else { return nil }
        let (name, kind) = (String(path[..<dot]), path[dot...])
        if let outer = outer[name] { return outer + kind }
        guard name.hasPrefix(blocks + ".") else { return nil }
        let parts = name.dropFirst(blocks.count + 1).split(separator: ".", maxSplits: 1)
        guard parts.count == 2, let inner = inner[String(parts[1])] else { return nil }
        return "blk.\(parts[0]).\(inner)\(kind)"
    }

    /// Where a file keeps a checkpoint's tensor, as it is; nil when there is none.
    func entry(of path: String) -> CheckpointWeights.Entry? { self[path].map { CheckpointWeights.Entry(name: $0) } }
}
