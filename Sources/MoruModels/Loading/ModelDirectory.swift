import MoruBase
import MoruNN
import MoruTensor

/// Directories that saving replaces whole, and what they have in common.
enum ModelDirectory {
    /// Refuses to replace a directory that holds something else than what is being saved.
    ///
    /// - Parameter marker: The file that every directory of the kind has.
    static func checkReplaceable(_ directory: String, marker: String) throws(MoruError) {
        guard FileSystem.exists(directory), !FileSystem.exists("\(directory)/\(marker)") else { return }
        guard FileSystem.isDirectory(directory), try FileSystem.list(directory).isEmpty else {
            throw MoruError(
                .directoryOccupied, "\(directory) exists and has no \(marker): saving would replace it",
                remedy: "name a new directory, or empty this one")
        }
    }

    /// Refuses a format that safetensors files do not hold weights in.
    static func checkStorable(_ dtype: DType?, _ directory: String) throws(MoruError) {
        guard let dtype, dtype.isQuantized || !dtype.isFloatingPoint else { return }
        throw MoruError(
            .safetensorsUnsupportedDType, "\(directory): weights cannot be stored as \(dtype.rawValue)",
            remedy: "choose f32, bf16 or f16")
    }

    /// The tokenizer's and the people's files, which saving carries over.
    static let tokenizerFiles = [
        "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.model",
        "vocab.json", "vocab.txt", "merges.txt", "chat_template.jinja", "README.md", "LICENSE", "LICENSE.txt",
        "LICENSE.md", "NOTICE",
    ]

    /// Copies those of some files that are there.
    static func carry(_ names: [String], from source: String, to directory: String) throws {
        for name in names where FileSystem.exists("\(source)/\(name)") {
            try FileSystem.write(FileSystem.read("\(source)/\(name)"), to: "\(directory)/\(name)")
        }
    }

    /// Parameters as files hold them: quantised ones in full, and some transposed.
    ///
    /// - Parameter dtype: How they are stored; nil keeps dense ones as they are.
    static func tensors(
        of parameters: [Parameter], transposed: Set<String>, as dtype: DType?
    ) -> [Safetensors.NamedTensor] {
        func stored(_ dtype: DType) -> DType { dtype.isQuantized ? .f32 : dtype }
        let matrices = Set(parameters.filter { $0.value.rank > 1 }.map { stored($0.value.dtype) })
        // Vectors are held in f32; those of a bf16 or f16 checkpoint go back to it, where they fit it exactly
        let common = matrices.count == 1 ? matrices.first ?? .f32 : .f32
        func layout(_ parameter: Parameter, _ dtype: DType) -> Tensor {
            let value = parameter.value.converted(to: dtype)
            return transposed.contains(parameter.path) ? value.transposedCopy() : value
        }
        return parameters.map { parameter in
            let value = parameter.value
            if let dtype { return (parameter.path, layout(parameter, dtype)) }
            if value.rank > 1 { return (parameter.path, layout(parameter, stored(value.dtype))) }
            let narrow = value.converted(to: common)
            return (parameter.path, narrow.converted(to: .f32).values() == value.values() ? narrow : value)
        }
    }

    /// Writes into a configuration how the weights are stored.
    static func name(dtypesOf tensors: [Tensor], in config: inout JSONObject) {
        let names: [DType: JSON] = [.f32: "float32", .bf16: "bfloat16", .f16: "float16"]
        // transformers converts every weight to this when it loads, so that it must not be narrower than any
        let dtypes = Set(tensors.map(\.dtype))
        config["dtype"] = nil
        config["torch_dtype"] = (dtypes.count == 1 ? dtypes.first : .f32).flatMap { names[$0] } ?? "float32"
    }
}
