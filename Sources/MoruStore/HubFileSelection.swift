import MoruBase

/// Which files of a repository make up a model.
enum HubFileSelection {
    /// The files to fetch: configuration, tokenizer, chat template and safetensors weights; or the one that is asked
    /// for.
    ///
    /// - Throws: ``MoruError/Code/hubNotFound`` when there is no such file, or
    ///   ``MoruError/Code/hubFilesUnsupported`` when there are no safetensors.
    static func select(from info: HubModelInfo, file wanted: String?) throws(MoruError) -> [HubFile] {
        let repository = info.repository
        let ggufs = info.files.filter { $0.name.hasSuffix(".gguf") }
        if let wanted {
            if let file = info.files.first(where: { $0.name == wanted }) { return [file] }
            var remedy = "check the name"
            if let nearest = nearestName(to: wanted, among: info.files.map(\.name)) {
                remedy = "did you mean '\(nearest)'?"
            } else if !ggufs.isEmpty {
                remedy = "it has: \(list(ggufs))"
            }
            throw MoruError(.hubNotFound, "\(repository) has no file '\(wanted)'", remedy: remedy)
        }
        let weights = self.weights(in: info.files)
        guard !weights.isEmpty else { throw noWeights(in: info, ggufs: ggufs) }
        return info.files.filter { weights.contains($0.name) || isCompanion($0.name) }
    }

    /// The names of the safetensors to fetch; where a repository has both `model*` and another set of the same
    /// weights (`consolidated*`), the former.
    private static func weights(in files: [HubFile]) -> Set<String> {
        let names = files.map(\.name).filter {
            $0.hasSuffix(".safetensors") && (!$0.contains("/") || isModuleFolder($0))
        }
        let index = files.map(\.name).filter { $0.hasSuffix(".safetensors.index.json") && !$0.contains("/") }
        let top = names.filter { !$0.contains("/") }
        var chosen = top
        if top.contains("model.safetensors") {
            chosen = ["model.safetensors"]
        } else if index.contains("model.safetensors.index.json") {
            chosen = top.filter { $0.hasPrefix("model-") } + ["model.safetensors.index.json"]
        }
        if chosen.isEmpty { return [] }
        if top.contains("adapter_model.safetensors") { chosen.append("adapter_model.safetensors") }
        return Set(chosen + names.filter { $0.contains("/") })
    }

    private static let companions: Set<String> = [
        "config.json", "generation_config.json", "vocab.json", "vocab.txt", "merges.txt", "special_tokens_map.json",
        "added_tokens.json", "chat_template.jinja", "chat_template.json", "tokenizer.model", "modules.json",
        "sentence_bert_config.json", "config_sentence_transformers.json", "adapter_config.json", "LICENSE",
        "LICENSE.txt", "LICENSE.md",
    ]

    private static func isCompanion(_ name: String) -> Bool {
        if companions.contains(name) { return true }
        if name.hasPrefix("tokenizer"), name.hasSuffix(".json"), !name.contains("/") { return true }
        return isModuleFolder(name) && name.hasSuffix("/config.json")
    }

    /// Whether the file lies in a folder of sentence-transformers: `1_Pooling/...`, `2_Dense/...`.
    private static func isModuleFolder(_ name: String) -> Bool {
        let parts = name.split(separator: "/")
        guard parts.count == 2, let digit = parts[0].first, digit.isNumber else { return false }
        return parts[0].drop(while: \.isNumber).first == "_"
    }

    private static func noWeights(in info: HubModelInfo, ggufs: [HubFile]) -> MoruError {
        let repository = info.repository
        if let first = ggufs.first {
            return MoruError(
                .hubFilesUnsupported, "\(repository) holds GGUF files, of which one must be chosen: \(list(ggufs))",
                remedy: "for example: moru pull hf:\(repository):\(first.name)")
        }
        let old = info.files.filter {
            [".bin", ".pt", ".pth", ".h5", ".msgpack", ".ckpt"].contains(where: $0.name.hasSuffix)
        }
        if let first = old.first {
            return MoruError(
                .hubFilesUnsupported, "\(repository) has its weights only as \(first.name), which Moru does not read",
                remedy: "convert it once with transformers (save_pretrained writes safetensors) and use the directory, "
                    + "or look for a revision with safetensors (often refs/pr/N): hf:\(repository)@refs/pr/N")
        }
        return MoruError(
            .hubFilesUnsupported, "\(repository) holds no weights: neither safetensors nor GGUF",
            remedy: "check that it is a model repository")
    }

    private static func list(_ files: [HubFile]) -> String {
        let names = files.prefix(12).map(\.name).joined(separator: ", ")
        return files.count > 12 ? names + " and \(files.count - 12) more" : names
    }
}
