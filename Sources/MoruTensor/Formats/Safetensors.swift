import MoruBase

/// Writes safetensors files, single or sharded, as the Hugging Face libraries read them.
public enum Safetensors {
    /// A tensor under the name it has in the file.
    public typealias NamedTensor = (name: String, tensor: Tensor)

    /// Writes one file, whole or not at all; the same input gives the same bytes.
    ///
    /// Tensors are laid out like the reference implementation does it: widest dtype first, then by name, so that all
    /// data is aligned; the header is padded to 8 bytes.
    ///
    /// - Throws: ``MoruError/Code/tensorNameInvalid``, ``MoruError/Code/safetensorsUnsupportedDType`` for quantised
    ///   tensors, or what `FileSystem.writeAtomically` throws.
    public static func write(
        _ tensors: [NamedTensor], metadata: [String: String] = ["format": "pt"], to path: String
    ) throws {
        let ordered = try layout(tensors, path: path)
        let header = header(of: ordered, metadata: metadata)
        guard header.count - 8 <= SafetensorsFile.maximumHeaderBytes else {
            throw MoruError(
                .tensorNameInvalid,
                "\(path): the header would take \(header.count - 8) bytes, more than the limit of "
                    + "\(SafetensorsFile.maximumHeaderBytes)", remedy: "write several files")
        }
        try FileSystem.writeAtomically(to: path) { writer in
            try writer.write(header)
            for (_, tensor) in ordered { try writer.write(tensor: tensor) }
        }
    }

    /// Writes `model-00001-of-0000N.safetensors` and `model.safetensors.index.json` into a directory, or a single
    /// `model.safetensors` when one file is enough.
    ///
    /// Tensors keep their order; a shard ends where the next tensor would make it larger than `maximumShardBytes`.
    /// What names the other layout's files in the directory is removed, so that no reader finds older weights.
    ///
    /// - Throws: As ``write(_:metadata:to:)``.
    public static func writeSharded(
        _ tensors: [NamedTensor], directory: String, maximumShardBytes: Int = 5_000_000_000,
        metadata: [String: String] = ["format": "pt"]
    ) throws {
        _ = try layout(tensors, path: directory)
        var shards: [[NamedTensor]] = [[]]
        var shardBytes = 0
        for named in tensors {
            if shardBytes > 0, shardBytes + named.tensor.byteCount > maximumShardBytes {
                shards.append([])
                shardBytes = 0
            }
            shards[shards.count - 1].append(named)
            shardBytes += named.tensor.byteCount
        }
        let single = "\(directory)/\(TensorDirectory.singleName)"
        let index = "\(directory)/\(TensorDirectory.indexName)"
        guard shards.count > 1 else {
            try write(tensors, metadata: metadata, to: single)
            FileSystem.remove(index)
            return
        }
        var weightMap = JSONObject()
        for (position, shard) in shards.enumerated() {
            let name = "model-\(padded(position + 1))-of-\(padded(shards.count)).safetensors"
            try write(shard, metadata: metadata, to: "\(directory)/\(name)")
            for (tensor, _) in shard { weightMap[tensor] = .string(name) }
        }
        let total = tensors.reduce(0) { $0 + $1.tensor.byteCount }
        let content: JSON = ["metadata": ["total_size": .int(total)], "weight_map": .object(weightMap)]
        try FileSystem.write((content.text(pretty: true, sortedKeys: true) + "\n").utf8, to: index)
        FileSystem.remove(single)
    }

    private static func padded(_ number: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, 5 - digits.count)) + digits
    }

    private static func layout(_ tensors: [NamedTensor], path: String) throws(MoruError) -> [NamedTensor] {
        var seen: Set<String> = []
        for (name, tensor) in tensors {
            guard name != "__metadata__", seen.insert(name).inserted else {
                throw MoruError(
                    .tensorNameInvalid, "\(path): tensor name \"\(name)\" is reserved or used twice",
                    remedy: "give every tensor its own name")
            }
            guard SafetensorsDType.name(of: tensor.dtype) != nil else {
                throw MoruError(
                    .safetensorsUnsupportedDType,
                    "\(path): tensor \"\(name)\" is \(tensor.dtype.rawValue), which safetensors cannot hold",
                    remedy: "convert it to bf16 first, or write a GGUF file")
            }
        }
        return tensors.sorted { left, right in
            let ranks = (rank(left.tensor.dtype), rank(right.tensor.dtype))
            if ranks.0 != ranks.1 { return ranks.0 > ranks.1 }
            return left.name.utf8.lexicographicallyPrecedes(right.name.utf8)
        }
    }

    /// The order of the reference implementation's dtypes.
    private static func rank(_ dtype: DType) -> Int {
        switch dtype {
        case .i64: 5
        case .f32: 4
        case .i32: 3
        case .bf16: 2
        case .f16: 1
        default: 0
        }
    }

    private static func header(of tensors: [NamedTensor], metadata: [String: String]) -> [UInt8] {
        var members = JSONObject()
        if !metadata.isEmpty {
            let texts = metadata.sorted { $0.key < $1.key }.map { ($0.key, JSON.string($0.value)) }
            members["__metadata__"] = .object(JSONObject(texts))
        }
        var offset = 0
        for (name, tensor) in tensors {
            let end = offset + tensor.byteCount
            members[name] = [
                "dtype": .string(SafetensorsDType.name(of: tensor.dtype) ?? ""),
                "shape": .array(tensor.shape.map { .int($0) }),
                "data_offsets": [.int(offset), .int(end)],
            ]
            offset = end
        }
        var text = Array(JSON.object(members).text().utf8)
        while text.count % 8 != 0 { text.append(UInt8(ascii: " ")) }
        return withUnsafeBytes(of: UInt64(text.count).littleEndian) { Array($0) } + text
    }
}

extension FileWriter {
    /// Appends a tensor's bytes as they are.
    mutating func write(tensor: Tensor) throws(MoruError) {
        try write(UnsafeRawBufferPointer(start: tensor.bytes, count: tensor.byteCount))
        withExtendedLifetime(tensor) {}
    }
}
