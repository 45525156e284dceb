import MoruBase
import MoruNN
import MoruTensor

extension TextModel {
    /// Quantises the linear layers inside the blocks in place, as a base to tune an adapter on (QLoRA, Dettmers et al.,
    /// 2023) in less memory. Embeddings, norms and biases stay as they are, and so do layers that are quantised already.
    ///
    /// - Parameter dtype: A quantised format that Moru writes, such as `q4_0` or `q8_0`.
    /// - Throws: ``MoruError/Code/quantizationUnsupported``; nothing is changed then.
    public func quantizeLinears(to dtype: DType) throws(MoruError) {
        guard dtype.isQuantized, dtype.isWritable else {
            let names = DType.allCases.filter { $0.isQuantized && $0.isWritable }.map(\.rawValue)
            throw MoruError(
                .quantizationUnsupported, "layers cannot be quantised to \(dtype.rawValue)",
                remedy: "choose one of \(names.joined(separator: ", "))")
        }
        if let layer = linears.first(where: { $0.inputs % dtype.blockElements != 0 }) {
            throw MoruError(
                .quantizationUnsupported,
                "\(layer.path) has \(layer.inputs) inputs, no multiple of the \(dtype.blockElements) that \(dtype.rawValue) "
                    + "quantises together", remedy: "tune on the dense weights")
        }
        for layer in linears where !layer.weight.value.dtype.isQuantized {
            layer.weight.value = layer.weight.value.converted(to: dtype)
        }
    }
}

extension MoruError.Code {
    /// Weights that cannot be quantised as asked.
    public static let quantizationUnsupported = MoruError.Code("model.quantization-unsupported", .unsupported)
}
