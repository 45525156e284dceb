import MoruBase
import MoruTensor
import MoruTestKit
import Testing

/// Against the reference packages `safetensors` and `gguf`, in both directions.
@Suite(.enabled(if: TestNeeds.python != nil, "MORU_TEST_PYTHON names no Python"))
struct FormatGoldenTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func expectContent(of source: any TensorSource, equals expected: JSON?) throws {
        let expected = try #require(expected?.object)
        #expect(!expected.isEmpty && Set(source.names) == Set(expected.keys))
        for (name, tensor) in expected.members {
            let info = try #require(source.info(name))
            #expect(info.format == tensor["format"]?.string)
            #expect(info.shape == tensor["shape"]?.array?.compactMap(\.int))
            if info.dtype == nil {
                #expect(throws: MoruError.self) { try source.tensor(name) }
            } else {
                #expect(try source.tensor(name).hex == tensor["hex"]?.string, "\(name)")
            }
        }
    }

    @Test func readsWhatTheReferencesWrite() throws {
        try Goldens.run("formats.py", ["write", folder.path])
        let expected = try JSON.parse(file: folder("reference.json"))
        let safetensors = try SafetensorsFile(path: folder("reference.safetensors"))
        #expect(safetensors.metadata == ["format": "pt", "note": "a \"b\""])
        try expectContent(of: safetensors, equals: expected["safetensors"])

        // Written again, the file is the same, byte for byte.
        let canonical = try SafetensorsFile(path: folder("canonical.safetensors"))
        try expectContent(of: canonical, equals: expected["canonical"])
        let tensors = try canonical.names.shuffled().map { (name: $0, tensor: try canonical.tensor($0)) }
        try Safetensors.write(tensors, to: folder("again.safetensors"))
        #expect(try FileSystem.read(folder("again.safetensors")) == FileSystem.read(canonical.path))

        let gguf = try GGUFFile(path: folder("reference.gguf"))
        try expectContent(of: gguf, equals: expected["gguf"])
        #expect(
            gguf.metadata == [
                "general.architecture": .string("llama"), "test.uint8": .int(200), "test.int8": .int(-100),
                "test.uint16": .int(60000), "test.int16": .int(-30000), "test.uint32": .int(4_000_000_000),
                "test.int32": .int(-2_000_000_000), "test.uint64": .int(1 << 62), "test.int64": .int(-(1 << 62)),
                "test.float32": .double(Double(Float(1e-5))), "test.float64": .double(0.1), "test.bool": .bool(true),
                "test.string": .string("한국어 é 😀"), "test.ints": .ints([1, -2, 3]),
                "test.doubles": .doubles([0.5, -1.5]), "test.bools": .ints([1, 0]),
                "test.strings": .strings(["", "a", "Ġtoken", "▁한"]),
            ])
    }

    @Test func theReferenceReadsOurSafetensors() throws {
        let tensors = tensorsOfEveryDType([.f32, .f16, .bf16, .i64, .i32]) + [("a \"é\"\n", Tensor(1))]
        try Safetensors.write(tensors, metadata: ["format": "pt", "k\n": "v"], to: folder("x.safetensors"))
        let read = try Goldens.json(printedBy: "formats.py", ["dump", folder("x.safetensors")])
        #expect(read["metadata"] == ["format": "pt", "k\n": "v"])
        try expectContent(of: SafetensorsFile(path: folder("x.safetensors")), equals: read["tensors"])
        #expect(read["tensors"]?["tensor.bf16"]?["hex"]?.string == tensors[2].tensor.hex)
    }

    @Test func theReferenceReadsOurGGUF() throws {
        let tensors = tensorsOfEveryDType() + [("cube", Tensor.ones([2, 3, 4]))]
        let fields: [GGUFField] = [
            GGUFField("general.architecture", .string("llama")), GGUFField("n", .int(3), as: .uint64),
            GGUFField("d", .double(0.5)), GGUFField("flag", .bool(true)), GGUFField("list", .strings(["a", "한"])),
            GGUFField("kinds", .ints([1, 2]), as: .int32), GGUFField("general.alignment", .int(64)),
        ]
        try GGUFWriter.write(metadata: fields, tensors: tensors, to: folder("x.gguf"))
        let read = try Goldens.json(printedBy: "formats.py", ["dump", folder("x.gguf")])
        #expect(read["version"]?.int == 3)
        #expect(read["metadata"]?["n"] == ["types": ["UINT64"], "value": 3])
        #expect(read["metadata"]?["d"] == ["types": ["FLOAT32"], "value": 0.5])
        #expect(read["metadata"]?["flag"] == ["types": ["BOOL"], "value": true])
        #expect(read["metadata"]?["list"] == ["types": ["ARRAY", "STRING"], "value": ["a", "한"]])
        #expect(read["metadata"]?["kinds"] == ["types": ["ARRAY", "INT32"], "value": [1, 2]])
        try expectContent(of: GGUFFile(path: folder("x.gguf")), equals: read["tensors"])
        for (name, tensor) in tensors { #expect(read["tensors"]?[name]?["hex"]?.string == tensor.hex, "\(name)") }
    }
}
