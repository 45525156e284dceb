import MoruBase
import MoruTensor
import Testing

@Suite struct GGUFFileTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func open(_ sample: GGUFSample) throws -> GGUFFile {
        try GGUFFile(path: folder.write(sample.bytes, as: "sample.gguf"))
    }

    @Test(arguments: [2, 3] as [UInt32]) func readsBothVersions(version: UInt32) throws {
        var sample = GGUFSample(version: version)
        sample.metadata = [
            GGUFSample.entry("text", type: 8, GGUFSample.string("é")),
            GGUFSample.entry("numbers", type: 9, GGUFSample.array(type: 1, count: 2, [1, 0xFF])),
            GGUFSample.entry("flags", type: 9, GGUFSample.array(type: 7, count: 2, [1, 0])),
            GGUFSample.entry("none", type: 9, GGUFSample.array(type: 8, count: 0)),
        ]
        sample.tensors = [GGUFSample.tensor("b", offset: 32), GGUFSample.tensor("a", dimensions: [2], type: 1)]
        let file = try open(sample)
        #expect(file.version == Int(version))
        #expect(
            file.metadata == [
                "text": .string("é"), "numbers": .ints([1, -1]), "flags": .ints([1, 0]), "none": .strings([]),
            ])
        #expect(file.names == ["b", "a"])
        #expect(file.info("b")?.shape == [2, 4] && file.info("b")?.dtype == .f32)
        #expect(try file.tensor("a").rawBytes == [0, 1, 2, 3])
        #expect(try file.tensor("b").rawBytes == Array(32..<64))
    }

    @Test func readsAScalarAndAnEmptyTensor() throws {
        var sample = GGUFSample()
        sample.tensors = [
            GGUFSample.tensor("empty", dimensions: [0, 3], offset: 32), GGUFSample.tensor("scalar", dimensions: []),
        ]
        let file = try open(sample)
        #expect(try file.tensor("scalar").shape == [])
        #expect(try file.tensor("scalar").rawBytes == [0, 1, 2, 3])
        #expect(try file.tensor("empty").shape == [3, 0])
    }

    @Test func honoursASmallAlignmentByCopying() throws {
        var sample = GGUFSample(alignment: 1)
        sample.metadata = [GGUFSample.entry("general.alignment", type: 4, GGUFSample.integer(UInt32(1)))]
        sample.tensors = [
            GGUFSample.tensor("bytes", dimensions: [3], type: 24), GGUFSample.tensor("floats", offset: 3),
        ]
        let file = try open(sample)
        #expect(file.alignment == 1)
        let tensor = try file.tensor("floats")
        #expect(tensor.rawBytes == Array(3..<35))
        #expect(Int(bitPattern: tensor.bytes) % 4 == 0)
    }

    @Test(
        arguments: [(20, "IQ4_NL"), (35, "TQ2_0"), (28, "F64"), (24, "I8"), (99, "ggml type 99")] as [(UInt32, String)])
    func otherTypesAreListedAndRefusedWhenRead(type: UInt32, name: String) throws {
        var sample = GGUFSample(data: [UInt8](repeating: 0, count: 4096))
        sample.tensors = [
            GGUFSample.tensor("odd", dimensions: [256], type: type),
            GGUFSample.tensor("plain", dimensions: [4], offset: 2048),
        ]
        let file = try open(sample)
        #expect(file.names == ["odd", "plain"])
        #expect(file.info("odd")?.dtype == nil && file.info("odd")?.format == name)
        let error = #expect(throws: MoruError.self) { try file.tensor("odd") }
        #expect(error?.code == .ggufUnsupported)
        #expect(error?.message.contains("\"odd\"") == true && error?.message.contains(name) == true)
        #expect(try file.tensor("plain").values() == [0, 0, 0, 0])
        #expect(#expect(throws: MoruError.self) { try file.tensor("odds") }?.code == .tensorNotFound)
    }

    @Test(arguments: HostileGGUF.all) func refusesHostileFiles(sample: HostileGGUF) throws {
        let path = try folder.write(sample.bytes, as: "hostile.gguf")
        let error = #expect(throws: MoruError.self) { try GGUFFile(path: path) }
        #expect(error?.code == sample.code, "\(String(describing: error))")
        #expect(error?.message.contains("hostile.gguf") == true)
        #expect(error?.remedy?.isEmpty == false)
    }

    @Test func everyTruncationIsRefused() throws {
        var sample = GGUFSample()
        sample.metadata = [
            GGUFSample.entry("text", type: 8, GGUFSample.string("hello")),
            GGUFSample.entry("list", type: 9, GGUFSample.array(type: 8, count: 1, GGUFSample.string("x"))),
        ]
        sample.tensors = [GGUFSample.tensor("a"), GGUFSample.tensor("b", offset: 32)]
        let whole = sample.bytes
        for count in 0..<whole.count {
            let path = try folder.write(Array(whole[..<count]))
            let error = #expect(throws: MoruError.self) { try GGUFFile(path: path) }
            #expect(error?.code == .ggufTruncated, "\(count) bytes")
        }
    }

    @Test func theSampleItselfIsSound() throws {
        // What the hostile files are one step away from.
        var sample = GGUFSample()
        sample.tensors = [GGUFSample.tensor(), GGUFSample.tensor("y", offset: 32)]
        #expect(try open(sample).names == ["x", "y"])
    }
}
