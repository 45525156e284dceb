import MoruBase
import MoruTensor

/// Reads the architecture's keys of a GGUF file's metadata with checks that name the file and key.
struct GGUFConfigurationReader {
    let file: GGUFFile
    let prefix: String

    func value(_ key: String) -> MetadataValue? { file.metadata["\(prefix).\(key)"] }

    /// A positive integer.
    func size(_ key: String, default fallback: Int? = nil) throws(MoruError) -> Int {
        guard let value = value(key) else {
            if let fallback { return fallback }
            throw MoruError(
                .modelConfiguration, "\(file.path): the metadata key \(prefix).\(key) is missing",
                remedy: "convert the model to GGUF again")
        }
        guard let size = value.int, 1..<1 << 31 ~= size else {
            throw malformed(key, "a positive integer below 2^31")
        }
        return size
    }

    /// A finite number.
    func number(_ key: String, default fallback: Double) throws(MoruError) -> Double {
        guard let value = value(key) else { return fallback }
        guard let number = value.double, number.isFinite else {
            throw malformed(key, "a number")
        }
        return number
    }

    /// A boolean.
    func flag(_ key: String, default fallback: Bool) throws(MoruError) -> Bool {
        guard let value = value(key) else { return fallback }
        guard let flag = value.bool else { throw malformed(key, "true or false") }
        return flag
    }

    /// Refuses a value that Moru would otherwise have to ignore; an absent key says nothing.
    func refuse(_ key: String, unless expected: Int) throws(MoruError) {
        guard let value = value(key) else { return }
        guard let number = value.int else { throw malformed(key, "an integer") }
        if number == expected { return }
        throw MoruError(
            .modelUnsupported, "\(file.path): \(prefix).\(key) = \(number) is not supported, only \(expected) is",
            remedy: "use another model of the family \(prefix)")
    }

    func malformed(_ key: String, _ wanted: String) -> MoruError {
        MoruError(
            .modelConfiguration, "\(file.path): \(prefix).\(key) must be \(wanted)",
            remedy: "the file is damaged: download it, or convert the model to GGUF, again")
    }

    /// LongRoPE's factors, from the tensors that hold them; nil where there are none.
    private func longRope(contextLength: Int, rotatedDim: Int) throws(MoruError) -> RotaryScaling? {
        let names = ["rope_factors_short.weight", "rope_factors_long.weight"]
        guard names.contains(where: { file.info($0) != nil }) else { return nil }
        var factors: [[Double]] = []
        for name in names {
            guard let info = file.info(name), info.shape == [rotatedDim / 2], info.dtype == .f32 else {
                throw MoruError(
                    .weightShape,
                    "\(file.path): the tensor \(name) is missing or does not hold \(rotatedDim / 2) factors in F32",
                    remedy: "the file is damaged: download it, or convert the model to GGUF, again")
            }
            factors.append(try file.tensor(name).values().map(Double.init))
        }
        guard factors.joined().allSatisfy({ $0 > 0 && $0.isFinite }) else {
            throw MoruError(
                .weightsNotFinite, "\(file.path): the tensors rope_factors_* hold numbers that are not positive",
                remedy: "the file is damaged: download it, or convert the model to GGUF, again")
        }
        let original = try size("rope.scaling.original_context_length", default: contextLength)
        let usual = RotaryScaling.longAttentionFactor(
            Double(contextLength) / Double(original), originalContext: original)
        return .longrope(
            short: factors[0], long: factors[1], originalContext: original,
            attentionFactor: try number("rope.scaling.attn_factor", default: usual))
    }

    /// The stretching of rotary frequencies, from the metadata or the tensors that hold factors.
    func ropeScaling(contextLength: Int, headDim: Int, base: Double) throws(MoruError) -> RotaryScaling {
        if let long = try longRope(contextLength: contextLength, rotatedDim: headDim) { return long }
        if let info = file.info("rope_freqs.weight") {
            guard info.shape == [headDim / 2], info.dtype?.isFloatingPoint == true else {
                throw MoruError(
                    .weightShape,
                    "\(file.path): the tensor rope_freqs.weight is \(info.format) \(info.shape), "
                        + "\(headDim / 2) factors are needed",
                    remedy: "the file is damaged: download it, or convert the model to GGUF, again")
            }
            let factors = try file.tensor("rope_freqs.weight").values().map(Double.init)
            guard factors.allSatisfy({ $0 > 0 && $0.isFinite }) else {
                throw MoruError(
                    .weightsNotFinite, "\(file.path): the tensor rope_freqs.weight holds numbers that are not positive",
                    remedy: "the file is damaged: download it, or convert the model to GGUF, again")
            }
            return RotaryScaling.llama3(factors: factors, headDim: headDim, base: base) ?? .perFrequency(factors)
        }
        let factor = try number("rope.scaling.factor", default: 1)
        guard factor > 0 else { throw malformed("rope.scaling.factor", "positive") }
        switch value("rope.scaling.type")?.string ?? "none" {
        case "none": return .none
        case "linear": return .linear(factor: factor)
        case "yarn":
            let original = try size("rope.scaling.original_context_length", default: contextLength)
            return try RotaryScaling(
                json: [
                    "rope_type": "yarn", "factor": .double(factor),
                    "original_max_position_embeddings": .int(original),
                ], contextLength: contextLength, source: file.path)
        case let other:
            throw MoruError(
                .modelUnsupported, "\(file.path): rope scaling of type \"\(other)\" is not supported",
                remedy: "supported are none, linear and yarn")
        }
    }
}

extension GGUFFile {
    /// The number of token ids, which is that of the embedding table's rows.
    func vocabularySize() throws(MoruError) -> Int {
        guard let embedding = info("token_embd.weight"), embedding.shape.count == 2 else {
            throw MoruError(
                .weightMissing, "\(path): the tensor token_embd.weight is missing or no matrix",
                remedy: "the file is damaged: download it, or convert the model to GGUF, again")
        }
        return embedding.shape[0]
    }
}
