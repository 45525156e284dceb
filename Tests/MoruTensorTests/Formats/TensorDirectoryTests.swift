import MoruBase
import MoruTensor
import Testing

@Suite struct TensorDirectoryTests {
    let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        try Safetensors.write([("a", Tensor(1)), ("b", Tensor(2))], to: folder("one.safetensors"))
        try Safetensors.write([("c", Tensor(3))], to: folder("two.safetensors"))
    }

    private func open(index: String) throws -> TensorDirectory {
        try FileSystem.write(index.utf8, to: folder("model.safetensors.index.json"))
        return try TensorDirectory(path: folder.path)
    }

    @Test func opensAnIndexOfAnyFileNames() throws {
        let directory = try open(
            index: #"{"weight_map": {"a": "one.safetensors", "b": "one.safetensors", "c": "two.safetensors"}}"#)
        #expect(directory.names == ["a", "b", "c"])
        #expect(try directory.tensor("c").scalar == 3)
    }

    @Test(arguments: [
        ("shard missing", #"{"weight_map": {"a": "none.safetensors"}}"#),
        ("tensor not in its shard", #"{"weight_map": {"a": "two.safetensors", "c": "two.safetensors"}}"#),
        (
            "tensor in no shard",
            #"{"weight_map": {"a": "one.safetensors", "b": "one.safetensors", "d": "one.safetensors"}}"#
        ),
        ("tensor not in the index", #"{"weight_map": {"a": "one.safetensors"}}"#),
        ("path upwards", #"{"weight_map": {"a": "../one.safetensors"}}"#),
        ("absolute path", #"{"weight_map": {"a": "/etc/x.safetensors"}}"#),
        ("another kind of file", #"{"weight_map": {"a": "model.safetensors.index.json"}}"#),
        ("number for a file", #"{"weight_map": {"a": 1}}"#),
        ("list for a map", #"{"weight_map": []}"#),
        ("no map", "{}"),
        ("empty map", #"{"weight_map": {}}"#),
    ])
    func refusesAnIndexThatDisagrees(name: String, index: String) throws {
        let error = #expect(throws: MoruError.self) { try open(index: index) }
        #expect(error?.code == .safetensorsIndexMismatch, "\(name): \(String(describing: error))")
        #expect(error?.message.contains("model.safetensors.index.json") == true)
    }

    @Test func refusesATensorInTwoShards() throws {
        try Safetensors.write([("c", Tensor(3)), ("a", Tensor(1))], to: folder("two.safetensors"))
        let error = #expect(throws: MoruError.self) {
            try open(
                index: #"{"weight_map": {"a": "one.safetensors", "b": "one.safetensors", "c": "two.safetensors"}}"#)
        }
        #expect(error?.code == .safetensorsIndexMismatch)
    }

    @Test func malformedJSONAndNoWeightsSayWhatIsWrong() throws {
        #expect(#expect(throws: MoruError.self) { try open(index: "{") }?.code == .jsonMalformed)
        let empty = try TemporaryFolder()
        let error = #expect(throws: MoruError.self) { try TensorDirectory(path: empty.path) }
        #expect(error?.code == .fileNotFound)
        #expect(error?.message.contains("model.safetensors") == true)
    }
}
