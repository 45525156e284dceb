import MoruBase
import MoruNN
import MoruTensor

/// How an architecture lies in a GGUF file: its hyperparameters, and the map that reading uses, which writing reverses.
struct GGUFDescription: Sendable {
    /// `general.architecture`, which also begins the keys of the hyperparameters.
    var architecture: String
    /// The hyperparameters, without the architecture before their keys.
    var fields: [(key: String, value: MetadataValue)]
    /// Where the file keeps a parameter; the map of the reader.
    var entry: @Sendable (String) -> CheckpointWeights.Entry?
    /// Tensors that are no parameters, such as rotary factors.
    var extras: [(name: String, tensor: Tensor)] = []
    /// What programs that read the file may do otherwise than Moru, for people.
    var notes: [String] = []
}

/// A model that can be written as GGUF. To add one, say its layout; everything else follows from it.
protocol GGUFWritable: LanguageModel {
    /// The layout of the model in a file.
    ///
    /// - Throws: ``MoruError/Code/exportUnsupported`` for what no file can say.
    func ggufDescription() throws(MoruError) -> GGUFDescription
}

extension CheckpointWeights.Entry {
    /// A parameter as the file stores it: what reading does to a tensor, undone, but for slices, which are parts of
    /// what is stored.
    func stored(_ value: Tensor) -> Tensor {
        if offset != 0 {
            let value = value.converted(to: .f32)
            return value + Tensor.ones(value.shape) * offset
        }
        var order: [Int] = []
        if let heads = interleavedHeads {
            let rows = value.shape[0] / heads
            for head in 0..<heads {
                for pair in 0..<rows / 2 { order += [head * rows + pair, head * rows + rows / 2 + pair] }
            }
        } else if let heads = separatedHeads {
            let rows = value.shape[0] / (3 * heads)
            for part in 0..<3 {
                for head in 0..<heads { order += (0..<rows).map { (head * 3 + part) * rows + $0 } }
            }
        } else {
            return value
        }
        return value.permutingRows(order)
    }
}

extension GGUFDescription {
    /// The error for what no file can say.
    static func unsupported(_ what: String, _ value: String) -> MoruError {
        MoruError(
            .exportUnsupported, "GGUF has no word for \(what) (\(value))", remedy: "export the model as safetensors")
    }

    /// Says how rotary frequencies are stretched.
    ///
    /// - Throws: ``MoruError/Code/exportUnsupported`` for YaRN with constants of its own.
    mutating func add(_ scaling: RotaryScaling, headDim: Int, base: Double) throws(MoruError) {
        switch scaling {
        case .none: break
        case .longrope(let short, let long, let original, let attentionFactor):
            guard architecture == Phi3.modelType else {
                throw Self.unsupported("LongRoPE of this architecture", "two lists of factors")
            }
            for (name, factors) in [(Phi3.longFactors, long), (Phi3.shortFactors, short)] {
                extras.append((name, Tensor(factors.map { Float($0) }, shape: [factors.count])))
            }
            fields += [
                ("rope.scaling.original_context_length", .int(original)),
                ("rope.scaling.attn_factor", .double(attentionFactor)),
            ]
            notes.append(
                "llama.cpp takes LongRoPE's long factors where the context that it is given (-c) is above \(original) "
                    + "tokens, whatever the length of the text")
        case .linear(let factor):
            fields += [("rope.scaling.type", .string("linear")), ("rope.scaling.factor", .double(factor))]
        case .llama3, .perFrequency:
            let plain = RotaryScaling.none.inverseFrequencies(headDim: headDim, base: base)
            let scaled = scaling.inverseFrequencies(headDim: headDim, base: base)
            extras.append(
                ("rope_freqs.weight", Tensor(zip(plain, scaled).map { Float($0 / $1) }, shape: [headDim / 2])))
        case .yarn(let factor, _, _, let original, _):
            let said: JSON = [
                "rope_type": "yarn", "factor": .double(factor), "original_max_position_embeddings": .int(original),
            ]
            guard try scaling == RotaryScaling(json: said, contextLength: original, source: "YaRN") else {
                throw Self.unsupported("YaRN with other than its usual constants", "\(scaling)")
            }
            fields += [
                ("rope.scaling.type", .string("yarn")), ("rope.scaling.factor", .double(factor)),
                ("rope.scaling.original_context_length", .int(original)),
            ]
        }
    }
}

extension MoruError.Code {
    /// A model that the format has no words for.
    public static let exportUnsupported = MoruError.Code("export.unsupported", .unsupported)
}
