import MoruBase

/// The weights of a Hugging Face model directory: `model.safetensors`, or the shards that
/// `model.safetensors.index.json` lists.
public struct TensorDirectory: TensorSource {
    static let singleName = "model.safetensors"
    static let indexName = "model.safetensors.index.json"

    /// The directory.
    public let path: String
    /// The names of the tensors: shard by shard, in the order of their data.
    public let names: [String]
    /// The files that hold the tensors.
    public let files: [SafetensorsFile]
    private let fileOfTensor: [String: Int]

    /// Opens a directory's weights and checks that the index and the shards agree.
    ///
    /// - Throws: `MoruError` with code ``MoruError/Code/safetensorsIndexMismatch``, `fileNotFound`, or what
    ///   ``SafetensorsFile/init(path:)`` throws.
    public init(path: String) throws(MoruError) {
        let single = "\(path)/\(Self.singleName)"
        let index = "\(path)/\(Self.indexName)"
        if FileSystem.exists(single) {
            try self.init(path: path, files: [try SafetensorsFile(path: single)])
        } else if FileSystem.exists(index) {
            try self.init(path: path, index: index)
        } else {
            throw MoruError(
                .fileNotFound, "\(path) has neither \(Self.singleName) nor \(Self.indexName)",
                remedy: "point at a model directory with safetensors weights; "
                    + "weights in another format (pytorch_model.bin) must be saved as safetensors first")
        }
    }

    /// What the tensor's file says of it.
    public func info(_ name: String) -> TensorInfo? { fileOfTensor[name].flatMap { files[$0].info(name) } }

    /// A tensor; see ``SafetensorsFile/tensor(_:)``.
    public func tensor(_ name: String) throws(MoruError) -> Tensor {
        guard let file = fileOfTensor[name] else { throw missingTensor(name, in: path, among: names) }
        return try files[file].tensor(name)
    }

    private init(path: String, files: [SafetensorsFile]) throws(MoruError) {
        self.path = path
        self.files = files
        names = files.flatMap(\.names)
        var fileOfTensor: [String: Int] = [:]
        for (position, file) in files.enumerated() {
            for name in file.names {
                guard let other = fileOfTensor.updateValue(position, forKey: name) else { continue }
                throw MoruError(
                    .safetensorsIndexMismatch,
                    "tensor \"\(name)\" is both in \(files[other].path) and in \(file.path)",
                    remedy: "download the shards again")
            }
        }
        self.fileOfTensor = fileOfTensor
    }

    private init(path: String, index: String) throws(MoruError) {
        func mismatch(_ what: String) -> MoruError {
            MoruError(
                .safetensorsIndexMismatch, "\(index): \(what)",
                remedy: "download the index and all its shards again, from the same revision")
        }
        guard let weightMap = try JSON.parse(file: index)["weight_map"]?.object else {
            throw mismatch("weight_map, an object of tensor names and file names, is missing")
        }
        var shardOfTensor: [String: String] = [:]
        var shards: Set<String> = []
        for (name, value) in weightMap.members {
            guard let shard = value.string else { throw mismatch("weight_map.\(name) is \(value.kindName), not text") }
            guard Self.isPlainFileName(shard) else {
                throw mismatch("weight_map.\(name) names \"\(shard)\", which is no .safetensors file beside the index")
            }
            shardOfTensor[name] = shard
            shards.insert(shard)
        }
        guard !shards.isEmpty else { throw mismatch("weight_map is empty") }
        var files: [SafetensorsFile] = []
        for shard in shards.sorted() {
            guard FileSystem.exists("\(path)/\(shard)") else {
                throw mismatch("the shard \(shard) is missing in \(path)")
            }
            let file = try SafetensorsFile(path: "\(path)/\(shard)")
            for name in file.names where shardOfTensor[name] != shard {
                let listed = shardOfTensor[name].map { "in \($0)" } ?? "nowhere"
                throw mismatch("\(shard) holds tensor \"\(name)\", which the index places \(listed)")
            }
            files.append(file)
        }
        try self.init(path: path, files: files)
        for name in weightMap.keys where fileOfTensor[name] == nil {
            throw mismatch("tensor \"\(name)\" is not in \(shardOfTensor[name] ?? "its shard")")
        }
    }

    /// A name that stays inside the directory, whatever a hostile index says.
    private static func isPlainFileName(_ name: String) -> Bool {
        name.hasSuffix(".safetensors") && !name.hasPrefix(".") && !name.contains("/") && !name.contains("\\")
            && !name.contains("\0")
    }
}
