import MoruBase
import MoruTensor
import Testing

@Suite struct GGUFWriterTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    @Test func everyDTypeComesBackByteForByte() throws {
        let tensors = tensorsOfEveryDType() + [("scalar", Tensor(2.5)), ("cube", Tensor.ones([2, 3, 4]))]
        try GGUFWriter.write(metadata: [], tensors: tensors, to: folder("x.gguf"))
        let file = try GGUFFile(path: folder("x.gguf"))
        #expect(file.version == 3 && file.names == tensors.map(\.name))
        for (name, tensor) in tensors {
            let read = try file.tensor(name)
            #expect(read.shape == tensor.shape && read.dtype == tensor.dtype && read.rawBytes == tensor.rawBytes)
        }
    }

    @Test func metadataOfEveryTypeComesBack() throws {
        let fields: [GGUFField] = [
            GGUFField("u8", .int(255), as: .uint8), GGUFField("i8", .int(-128), as: .int8),
            GGUFField("u16", .int(65535), as: .uint16), GGUFField("i16", .int(-32768), as: .int16),
            GGUFField("u32", .int(4_294_967_295)), GGUFField("i32", .int(-1)), GGUFField("i64", .int(.min)),
            GGUFField("u64", .int(.max), as: .uint64), GGUFField("f32", .double(0.5)),
            GGUFField("f64", .double(0.1), as: .float64), GGUFField("bool", .bool(false)),
            GGUFField("string", .string("한\0")), GGUFField("ints", .ints([1, -2])), GGUFField("wide", .ints([1 << 40])),
            GGUFField("bytes", .ints([0, 255]), as: .uint8), GGUFField("bools", .ints([0, 1]), as: .bool),
            GGUFField("doubles", .doubles([0.25])), GGUFField("exact", .doubles([0.1]), as: .float64),
            GGUFField("strings", .strings(["", "b"])), GGUFField("none", .strings([])),
        ]
        try GGUFWriter.write(metadata: fields, tensors: [], to: folder("x.gguf"))
        let expected = Metadata(uniqueKeysWithValues: fields.map { ($0.key, $0.value) })
        #expect(try GGUFFile(path: folder("x.gguf")).metadata == expected)
    }

    @Test func anotherAlignmentIsKept() throws {
        let fields = [GGUFField("general.alignment", .int(256))]
        let tensors = [(name: "a", tensor: Tensor(1)), (name: "b", tensor: Tensor(2))]
        try GGUFWriter.write(metadata: fields, tensors: tensors, to: folder("x.gguf"))
        let file = try GGUFFile(path: folder("x.gguf"))
        #expect(file.alignment == 256)
        #expect(file.info("b")?.byteRange.lowerBound.isMultiple(of: 256) == true)
        #expect(try file.tensor("b").scalar == 2)
    }

    @Test func refusesWhatTheFormatCannotHold() throws {
        func code(
            _ metadata: [GGUFField] = [], _ tensors: [(name: String, tensor: Tensor)] = []
        ) -> MoruError.Code? {
            let path = folder("no.gguf")
            return #expect(throws: MoruError.self) {
                try GGUFWriter.write(metadata: metadata, tensors: tensors, to: path)
            }?.code
        }
        #expect(code([GGUFField("a", .int(256), as: .uint8)]) == .ggufUnsupported)
        #expect(code([GGUFField("a", .string("x"), as: .uint8)]) == .ggufUnsupported)
        #expect(code([GGUFField("a", .int(1)), GGUFField("a", .int(2))]) == .tensorNameInvalid)
        #expect(code([GGUFField("general.alignment", .int(24))]) == .ggufUnsupported)
        #expect(code([], [("a", Tensor(1)), ("a", Tensor(1))]) == .tensorNameInvalid)
        #expect(code([], [("a", Tensor.ones([1, 1, 1, 1, 1]))]) == .ggufUnsupported)
        let split = Tensor(bytes: [UInt8](repeating: 0, count: 18), shape: [2, 16], dtype: .q4_0)
        #expect(code([], [("a", split)]) == .ggufUnsupported)
        #expect(!FileSystem.exists(folder("no.gguf")))
    }
}
