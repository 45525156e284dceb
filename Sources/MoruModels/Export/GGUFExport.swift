import Foundation
import MoruBase
import MoruNN
import MoruTensor
import MoruText

/// A model as a GGUF file, which llama.cpp and transformers load.
public struct GGUFExport: Sendable {
    /// What becomes of one tensor.
    public struct PlannedTensor: Sendable, Hashable {
        /// The name in the file.
        public var name: String
        /// The parameter that it is made of; nil for what is none.
        public var path: String?
        /// The size of each dimension, outermost first.
        public var shape: [Int]
        /// How the model holds it.
        public var source: DType
        /// How the file stores it.
        public var dtype: DType
        /// Why it is not what was asked for, where it is not.
        public var reason: String?

        /// The bytes in the file.
        public var byteCount: Int { dtype.byteCount(of: shape.reduce(1, *)) ?? 0 }
    }

    /// The tensors, in the order of the file.
    public let tensors: [PlannedTensor]
    /// What readers of the file should know, for people.
    public let notes: [String]
    private let metadata: [GGUFField]
    private let contents: [String: @Sendable () -> Tensor]
    /// The mean squared inputs of each parameter's columns, for quantisation; see ``Calibration``.
    public var importance: [String: [Float]] = [:]

    /// Plans a file.
    ///
    /// - Parameters:
    ///   - model: The model.
    ///   - types: How tensors are stored.
    ///   - name: What the file calls the model; by default the last part of its path.
    /// - Throws: ``MoruError/Code/exportUnsupported`` or ``MoruError/Code/tokenizerUnsupported`` for what GGUF has no
    ///   words for, or what the types throw.
    public init(_ model: PretrainedModel, types: StorageTypes, name: String? = nil) throws(MoruError) {
        guard let writable = model.model as? any GGUFWritable else {
            throw MoruError(
                .exportUnsupported,
                "\(model.path): models of type \(model.model.facts.architecture) are not written as GGUF",
                remedy: "export the model as safetensors")
        }
        let layout = try writable.ggufDescription()
        var tensors: [PlannedTensor] = []
        var contents: [String: @Sendable () -> Tensor] = [:]
        let isTied = !model.model.parameters.contains { layout.entry($0.path)?.name == "output.weight" }
        for parameter in model.model.parameters {
            guard let entry = layout.entry(parameter.path) else {
                throw MoruError(
                    .exportUnsupported, "\(model.path): GGUF has no name for \(parameter.path)",
                    remedy: "export the model as safetensors")
            }
            guard entry.slice == nil, entry.offset == 0 else {
                throw MoruError(
                    .exportUnsupported, "\(model.path): \(entry.name) is read from GGUF, but not written yet",
                    remedy: "export the model as safetensors")
            }
            let value = parameter.value
            let (dtype, reason) = try types.choose(
                for: entry.name, shape: value.shape, source: value.dtype, layerCount: model.model.facts.layerCount,
                isTied: isTied)
            tensors.append(
                PlannedTensor(
                    name: entry.name, path: parameter.path, shape: value.shape, source: value.dtype, dtype: dtype,
                    reason: reason))
            contents[entry.name] = { entry.stored(parameter.value) }
        }
        for (name, tensor) in layout.extras {
            tensors.append(
                PlannedTensor(name: name, path: nil, shape: tensor.shape, source: tensor.dtype, dtype: tensor.dtype))
            contents[name] = { tensor }
        }
        self.tensors = tensors
        self.contents = contents
        notes = layout.notes + Self.requantized(tensors)
        metadata = try Self.metadata(model, layout, types, name: name, tensors)
    }

    private static func requantized(_ tensors: [PlannedTensor]) -> [String] {
        guard
            let first = tensors.first(where: { $0.source.isQuantized && $0.dtype != $0.source && $0.dtype.isQuantized })
        else { return [] }
        return [
            "the model is quantised already (\(first.source.rawValue)): quantising it again loses more than quantising "
                + "the original would"
        ]
    }

    private static func metadata(
        _ model: PretrainedModel, _ layout: GGUFDescription, _ types: StorageTypes, name: String?,
        _ tensors: [PlannedTensor]
    ) throws(MoruError) -> [GGUFField] {
        let last = ((model.path as NSString).lastPathComponent as NSString)
        let given = name ?? (last.pathExtension == "gguf" ? last.deletingPathExtension : last as String)
        var fields: [GGUFField] = [
            GGUFField("general.architecture", .string(layout.architecture)),
            GGUFField("general.type", .string("model")),
            GGUFField("general.name", .string(given)),
        ]
        if let license = model.license { fields.append(GGUFField("general.license", .string(license))) }
        fields += layout.fields.map { GGUFField("\(layout.architecture).\($0.key)", $0.value) }
        fields.append(GGUFField("general.file_type", .int(types.fileType(of: tensors))))
        if tensors.contains(where: \.dtype.isQuantized) {
            fields.append(GGUFField("general.quantization_version", .int(2)))
        }
        fields += try model.tokenizer.ggufMetadata(
            rows: model.model.facts.vocabularySize, endIDs: model.generationDefaults.endIDs, source: model.path
        ).map { GGUFField($0.key, $0.value) }
        if let template = model.chatTemplate {
            fields.append(GGUFField("tokenizer.chat_template", .string(template.source)))
        }
        return fields
    }

    /// The bytes of all tensors.
    public var byteCount: Int { tensors.reduce(0) { $0 + $1.byteCount } }

    /// Writes the file, whole or not at all, a tensor at a time.
    ///
    /// - Parameter progress: Called with the number of tensors written.
    /// - Throws: ``MoruError/Code/weightsNotFinite``, or what the file system throws.
    public func write(to path: String, progress: (Int) -> Void = { _ in }) throws {
        let importance = importance
        let entries = tensors.map { tensor in
            GGUFTensor(tensor.name, shape: tensor.shape, dtype: tensor.dtype) { [content = contents[tensor.name]] in
                guard let value = content?() else { preconditionFailure("\(tensor.name) has no content") }
                if value.dtype == tensor.dtype { return value }
                guard tensor.dtype.isQuantized else { return try value.stored(as: tensor.dtype, of: tensor.name) }
                guard value.isFiniteAsF32 else {
                    throw MoruError(
                        .weightsNotFinite, "\(tensor.name) holds numbers that are not finite",
                        remedy: "fetch or train the model again")
                }
                return value.quantized(to: tensor.dtype, importance: tensor.path.flatMap { importance[$0] })
            }
        }
        try GGUFWriter.write(metadata: metadata, tensors: entries, to: path, progress: progress)
    }
}

extension Tensor {
    fileprivate var isFiniteAsF32: Bool { converted(to: .f32).isFinite }
}
