import MoruBase
import MoruNN
import MoruTensor

extension PromptTuningAdapter {
    /// Reads an adapter in PEFT's layout for a model.
    convenience init(_ file: PEFTFile, for model: any TextModel) throws(MoruError) {
        self.init(try file.virtualTokens(for: model, .embeddings))
    }
}

extension PrefixTuningAdapter {
    /// Reads an adapter in PEFT's layout for a model.
    convenience init(_ file: PEFTFile, for model: any TextModel) throws(MoruError) {
        let numbers = try file.virtualTokens(for: model, .keysAndValues)
        self.init(numbers, layerCount: model.facts.layerCount, kvHeads: model.facts.kvHeads)
    }
}

extension PEFTFile {
    fileprivate func virtualTokens(
        for model: any TextModel, _ kind: VirtualTokens.Kind
    ) throws(MoruError) -> Tensor {
        try requireAbsent(["modules_to_save", "trainable_token_indices"])
        if try reader.size("num_transformer_submodules", default: 1) != 1 {
            throw unsupported("num_transformer_submodules")
        }
        let name = VirtualTokens.parameterName
        if let stray = tensors.names.first(where: { $0 != name && !headNames.contains($0) }) {
            throw MoruError(
                .adapterMismatch, "\(tensors.path): \(stray) has no place in an adapter of virtual tokens",
                remedy: "load the adapter with the base model it was trained on")
        }
        let count = try reader.size("num_virtual_tokens")
        return try tensor(name, shape: model.shape(of: kind, count: count))
    }
}

extension TextModel {
    /// The shape of the numbers that some virtual tokens of a kind are.
    ///
    /// - Throws: ``MoruError/Code/adapterUnsupported`` where the model takes no virtual tokens, or
    ///   ``MoruError/Code/adapterMismatch`` where so many leave no room for others.
    func shape(of kind: VirtualTokens.Kind, count: Int) throws(MoruError) -> [Int] {
        guard inputEmbedding != nil else {
            throw MoruError(
                .adapterUnsupported, "virtual tokens cannot stand before a sequence of a \(facts.architecture) model",
                remedy: "tune it with LoRA or (IA)3 instead")
        }
        guard kind == .embeddings || !(self is DistilBert) else {
            throw MoruError(
                .adapterUnsupported,
                "a prefix of keys and values cannot stand before a DistilBERT's sequence: transformers' layers take "
                    + "none, so that neither PEFT has such adapters",
                remedy: "choose prompt tuning, LoRA or (IA)3 instead")
        }
        guard 1..<facts.contextLength ~= count else {
            throw MoruError(
                .adapterMismatch, "\(count) virtual tokens do not fit the model's context of \(facts.contextLength)",
                remedy: "use 1 or more, and far fewer than the context holds; 20 is usual")
        }
        return switch kind {
        case .embeddings: [count, facts.hiddenSize]
        case .keysAndValues: [count, facts.layerCount * 2 * facts.kvHeads * facts.headDim]
        }
    }
}
