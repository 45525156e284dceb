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
            throw MoruError(.modelConfiguration, "\(file.path): the metadata key \(prefix).\(key) is missing")
        }
        guard let size = value.int, 1..<1 << 31 ~= size else {
            throw MoruError(.modelConfiguration, "\(file.path): \(prefix).\(key) must be a positive integer")
        }
        return size
    }

    /// A finite number.
    func number(_ key: String, default fallback: Double) throws(MoruError) -> Double {
        guard let value = value(key) else { return fallback }
        guard let number = value.double, number.isFinite else {
            throw MoruError(.modelConfiguration, "\(file.path): \(prefix).\(key) must be a number")
        }
        return number
    }

    /// The stretching of rotary frequencies, from the metadata or the tensor `rope_freqs.weight`.
    func ropeScaling(contextLength: Int) throws(MoruError) -> RotaryScaling {
        if file.info("rope_freqs.weight") != nil {
            let factors = try file.tensor("rope_freqs.weight").values().map(Double.init)
            return .perFrequency(factors)
        }
        let factor = try number("rope.scaling.factor", default: 1)
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
