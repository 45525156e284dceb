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
        /// The parameters that it is made of: one, the experts of a layer, or none.
        public var paths: [String]
        /// The size of each dimension, outermost first.
        public var shape: [Int]
        /// How the model holds it.
        public var source: DType
        /// How the file stores it.
        public var dtype: DType
        /// Why it is not stored as requested; nil if it is.
        public var deviation: StorageTypes.Deviation?

        /// The bytes in the file.
        public var byteCount: Int { dtype.byteCount(of: shape.reduce(1, *)) ?? 0 }
    }

    /// The tensors, in the order of the file.
    public let tensors: [PlannedTensor]
    /// What readers of the file should know, for people.
    public let notes: [String]
    private let metadata: [GGUFField]
    private let contents: [String: [Part]]
    /// The mean squared inputs of each parameter's columns, for quantisation; see ``Calibration``.
    public var importance: [String: [Float]] = [:]

    /// What one parameter contributes to a tensor.
    private struct Part: Sendable {
        var path: String?
        var value: @Sendable () -> Tensor
    }

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
        var contents: [String: [Part]] = [:]
        var places: [String: Int] = [:]
        let isTied = !model.model.parameters.contains { layout.entry($0.path)?.name == "output.weight" }
        for parameter in model.model.parameters {
            guard let entry = layout.entry(parameter.path) else {
                throw MoruError(
                    .exportUnsupported, "\(model.path): GGUF has no name for \(parameter.path)",
                    remedy: "export the model as safetensors")
            }
            // The parts of a stack come in its order
            let index = contents[entry.name]?.count ?? 0
            precondition(index == entry.slice?.index ?? 0, "\(parameter.path) is not part \(index) of \(entry.name)")
            contents[entry.name, default: []].append(
                Part(path: parameter.path) { entry.stored(parameter.value) })
            if let place = places[entry.name] {
                tensors[place].paths.append(parameter.path)
                continue
            }
            places[entry.name] = tensors.count
            let value = parameter.value
            let shape = (entry.slice.map { [$0.count] } ?? []) + value.shape
            let (dtype, deviation) = try types.choose(
                for: entry.name, shape: shape, source: value.dtype, layerCount: model.model.facts.layerCount,
                isTied: isTied)
            tensors.append(
                PlannedTensor(
                    name: entry.name, paths: [parameter.path], shape: shape, source: value.dtype, dtype: dtype,
                    deviation: deviation))
        }
        for (name, tensor) in layout.extras {
            tensors.append(
                PlannedTensor(name: name, paths: [], shape: tensor.shape, source: tensor.dtype, dtype: tensor.dtype))
            contents[name] = [Part(path: nil) { tensor }]
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
            GGUFTensor(tensor.name, shape: tensor.shape, dtype: tensor.dtype) { [parts = contents[tensor.name] ?? []] in
                let values = try parts.map { part in
                    try part.value().written(
                        as: tensor.dtype, of: tensor.name, importance: part.path.flatMap { importance[$0] })
                }
                return values.count == 1 ? values[0] : Tensor.concatenated(values).reshaped(tensor.shape)
            }
        }
        try GGUFWriter.write(metadata: metadata, tensors: entries, to: path, progress: progress)
    }
}

extension Tensor {
    /// The tensor in the format that a file stores it in.
    ///
    /// - Throws: ``MoruError/Code/weightsNotFinite``.
    fileprivate func written(as wanted: DType, of name: String, importance: [Float]?) throws(MoruError) -> Tensor {
        if dtype == wanted { return self }
        guard wanted.isQuantized else { return try stored(as: wanted, of: name) }
        guard converted(to: .f32).isFinite else {
            throw MoruError(
                .weightsNotFinite, "\(name) holds numbers that are not finite",
                remedy: "fetch or train the model again")
        }
        return quantized(to: wanted, importance: importance)
    }
}
