import MoruBase
import MoruTensor
import MoruTestKit
import Testing

@Suite struct SafetensorsWriterTests {
    static let dtypes: [DType] = [.f32, .f16, .bf16, .i64, .i32]
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    @Test func everyDTypeComesBack() throws {
        var tensors = tensorsOfEveryDType(Self.dtypes)
        tensors.append(("scalar \"é\"\n", Tensor(2.5)))
        tensors.append(("empty", Tensor(bytes: [], shape: [0, 3], dtype: .f16)))
        try Safetensors.write(tensors, metadata: ["a": "1", "b": "\u{7}"], to: folder("x.safetensors"))
        let file = try SafetensorsFile(path: folder("x.safetensors"))
        #expect(file.metadata == ["a": "1", "b": "\u{7}"])
        #expect(Set(file.names) == Set(tensors.map(\.name)))
        for (name, tensor) in tensors {
            let read = try file.tensor(name)
            #expect(read.shape == tensor.shape && read.dtype == tensor.dtype && read.rawBytes == tensor.rawBytes)
        }
    }

    @Test func theSameInputGivesTheSameBytesInAnyOrder() throws {
        let tensors = tensorsOfEveryDType(Self.dtypes)
        let metadata = ["z": "1", "format": "pt", "a": "2"]
        try Safetensors.write(tensors, metadata: metadata, to: folder("a"))
        try Safetensors.write(tensors.reversed(), metadata: metadata, to: folder("b"))
        let bytes = try FileSystem.read(folder("a"))
        try expectEqual(FileSystem.read(folder("b")), bytes)
        #expect(bytes[0] % 8 == 0)
    }

    @Test func refusesWhatTheFormatCannotHold() throws {
        let x = Tensor(1)
        func code(_ tensors: [(name: String, tensor: Tensor)]) -> MoruError.Code? {
            #expect(throws: MoruError.self) { try Safetensors.write(tensors, to: folder("no.safetensors")) }?.code
        }
        #expect(code([("a", x), ("a", x)]) == .tensorNameInvalid)
        #expect(code([("__metadata__", x)]) == .tensorNameInvalid)
        #expect(code(tensorsOfEveryDType([.q4_0])) == .safetensorsUnsupportedDType)
        #expect(!FileSystem.exists(folder("no.safetensors")))
    }

    @Test func shardsAreCutAtTheLimitAndReadBack() throws {
        let tensors = (0..<5).map { (name: "t\($0)", tensor: Tensor([Float($0), 1, 2, 3], shape: [2, 2])) }
        let big = (name: "big", tensor: Tensor.ones([100]))
        try Safetensors.writeSharded(tensors + [big], directory: folder.path, maximumShardBytes: 40)
        #expect(
            try FileSystem.list(folder.path)
                == (1...4).map { "model-0000\($0)-of-00004.safetensors" } + ["model.safetensors.index.json"])
        let index = try JSON.parse(file: folder("model.safetensors.index.json"))
        #expect(index["metadata"]?["total_size"]?.int == 480)
        #expect(index["weight_map"]?["t2"]?.string == "model-00002-of-00004.safetensors")
        let directory = try TensorDirectory(path: folder.path)
        #expect(directory.names == ["t0", "t1", "t2", "t3", "t4", "big"])
        #expect(directory.files.count == 4)
        #expect(directory.info("t3")?.shape == [2, 2])
        for (name, tensor) in tensors + [big] { try expectEqual(directory.tensor(name), tensor) }
        #expect(#expect(throws: MoruError.self) { try directory.tensor("t9") }?.code == .tensorNotFound)
    }

    @Test func aSmallModelIsOneFileAndReplacesShards() throws {
        let tensors = (0..<3).map { (name: "t\($0)", tensor: Tensor([Float($0)], shape: [1])) }
        try Safetensors.writeSharded(tensors, directory: folder.path, maximumShardBytes: 4)
        try Safetensors.writeSharded([("new", Tensor(1))], directory: folder.path)
        #expect(try TensorDirectory(path: folder.path).names == ["new"])
        try Safetensors.writeSharded(tensors, directory: folder.path, maximumShardBytes: 4)
        #expect(try TensorDirectory(path: folder.path).names == ["t0", "t1", "t2"])
    }
}
