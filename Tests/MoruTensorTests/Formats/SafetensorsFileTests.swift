import MoruBase
import MoruTensor
import Testing

@Suite struct SafetensorsFileTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    @Test func readsTensorsInTheOrderOfTheirData() throws {
        let header = """
            {"b": {"dtype":"F32","shape":[2],"data_offsets":[4,12]}, "__metadata__": {"format":"pt"},
             "a": {"data_offsets":[0,4],"shape":[2,1],"dtype":"BF16"}}
            """
        let file = try SafetensorsFile(path: folder.write(safetensors(header, data: 12)))
        #expect(file.names == ["a", "b"])
        #expect(file.metadata == ["format": "pt"])
        let start = 8 + header.utf8.count
        #expect(
            file.info("b")
                == TensorInfo(name: "b", dtype: .f32, format: "F32", shape: [2], byteRange: start + 4..<start + 12))
        #expect(try file.tensor("a").rawBytes == [0, 1, 2, 3])
        #expect(try file.tensor("a").shape == [2, 1])
    }

    @Test(arguments: 0..<8) func unalignedDataIsCopied(padding: Int) throws {
        let header =
            #"{"x":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}"# + String(repeating: " ", count: padding)
        let file = try SafetensorsFile(path: folder.write(safetensors(header, data: 12)))
        let tensor = try file.tensor("x")
        let first = Float(bitPattern: 0x0302_0100)
        #expect(tensor.values().first == first)
        #expect(tensor.rawBytes == Array(0..<12))
        #expect(Int(bitPattern: tensor.bytes) % 4 == 0)
    }

    @Test func otherDTypesAreListedAndRefusedWhenRead() throws {
        let header =
            #"{"d":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},"#
            + #""new":{"dtype":"F7_X","shape":[3],"data_offsets":[8,10]}}"#
        let file = try SafetensorsFile(path: folder.write(safetensors(header, data: 10)))
        #expect(file.names == ["d", "new"])
        #expect(file.info("d")?.dtype == nil && file.info("d")?.format == "F64")
        let error = #expect(throws: MoruError.self) { try file.tensor("d") }
        #expect(error?.code == .safetensorsUnsupportedDType)
        #expect(error?.message.contains("\"d\"") == true && error?.message.contains("F64") == true)
        #expect(#expect(throws: MoruError.self) { try file.tensor("new") }?.code == .safetensorsUnsupportedDType)
    }

    @Test func aMissingTensorSuggestsTheNearest() throws {
        let header = #"{"model.norm.weight":{"dtype":"I32","shape":[],"data_offsets":[0,4]}}"#
        let file = try SafetensorsFile(path: folder.write(safetensors(header, data: 4)))
        let error = #expect(throws: MoruError.self) { try file.tensor("model.norm.weights") }
        #expect(error?.code == .tensorNotFound)
        #expect(error?.remedy?.contains("model.norm.weight") == true)
    }

    @Test func aTensorOutlivesItsFile() throws {
        let header = #"{"x":{"dtype":"I32","shape":[2],"data_offsets":[0,8]} }"#
        let path = try folder.write(safetensors(header, data: 8))
        func read() throws -> Tensor { try SafetensorsFile(path: path).tensor("x") }
        let tensor = try read()
        FileSystem.remove(path)
        #expect(tensor.rawBytes == Array(0..<8))
    }

    @Test(arguments: HostileSafetensors.all) func refusesHostileFiles(sample: HostileSafetensors) throws {
        let path = try folder.write(sample.bytes, as: "hostile.safetensors")
        let error = #expect(throws: MoruError.self) { try SafetensorsFile(path: path) }
        #expect(error?.code == sample.code, "\(String(describing: error))")
        #expect(error?.message.contains("hostile.safetensors") == true)
        #expect(error?.remedy?.isEmpty == false)
    }

    @Test func everyTruncationIsRefused() throws {
        let whole = safetensors(
            #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F16","shape":[1],"data_offsets":[8,10]}}"#,
            data: 10)
        for count in 0..<whole.count {
            let path = try folder.write(Array(whole[..<count]))
            let error = #expect(throws: MoruError.self) { try SafetensorsFile(path: path) }
            #expect(error?.code == .safetensorsTruncated, "\(count) bytes")
        }
    }
}

/// A malformed file and the code that it must be refused with.
struct HostileSafetensors: CustomTestStringConvertible {
    let testDescription: String
    let bytes: [UInt8]
    let code: MoruError.Code

    init(_ name: String, _ bytes: [UInt8], _ code: MoruError.Code = .safetensorsMalformed) {
        testDescription = name
        self.bytes = bytes
        self.code = code
    }

    /// Fields of a header with a single tensor `x` of 8 bytes.
    static func one(_ fields: String, data: Int = 8) -> [UInt8] { safetensors(#"{"x":{\#(fields)}}"#, data: data) }
    static let good = #""dtype":"F32","shape":[2],"data_offsets":[0,8]"#

    static let all: [HostileSafetensors] = [
        .init("empty file", [], .safetensorsTruncated),
        .init("header length cut", [1, 0, 0], .safetensorsTruncated),
        .init("header length beyond the file", safetensors("{}", headerLength: 3), .safetensorsTruncated),
        .init("header length beyond the limit", safetensors("{}", headerLength: 100_000_001)),
        .init("header length 2^64 - 1", safetensors("{}", headerLength: .max)),
        .init("header length 0", safetensors("")),
        .init("Git LFS pointer", Array("version https://git-lfs.github.com/spec/v1\noid sha256:0\n".utf8)),
        .init("header is a list", safetensors("[1]")),
        .init("header is deeply nested", safetensors(#"{"x":"# + String(repeating: "[", count: 100_000))),
        .init("header is a bomb of numbers", one(#""shape":["# + String(repeating: "1,", count: 100_000) + "1]")),
        .init("header begins with a space", safetensors(" {}")),
        .init("text after the header", safetensors("{} {}")),
        .init("header cut inside a string", safetensors(#"{"x"#)),
        .init("string that ends in a backslash", safetensors(#"{"x\"#)),
        .init("invalid escape", safetensors(#"{"\q":{\#(good)}}"#, data: 8)),
        .init("control character in a name", safetensors("{\"\u{1}\":{\(good)}}", data: 8)),
        .init("name that is not UTF-8", [7, 0, 0, 0, 0, 0, 0, 0, 0x7B, 0x22, 0xFF, 0x22, 0x3A, 0x7B, 0x7D]),
        .init("tensor is a number", safetensors(#"{"x":1}"#)),
        .init("tensor without fields", one("", data: 0)),
        .init("no dtype", one(#""shape":[2],"data_offsets":[0,8]"#)),
        .init("dtype is a number", one(#""dtype":1,"shape":[2],"data_offsets":[0,8]"#)),
        .init("no offsets", one(#""dtype":"F32","shape":[2]"#)),
        .init("one offset", one(#""dtype":"F32","shape":[2],"data_offsets":[8]"#)),
        .init("three offsets", one(#""dtype":"F32","shape":[2],"data_offsets":[0,8,8]"#)),
        .init("negative dimension", one(#""dtype":"F32","shape":[-2],"data_offsets":[0,8]"#)),
        .init("fractional dimension", one(#""dtype":"F32","shape":[2.0],"data_offsets":[0,8]"#)),
        .init("leading zero", one(#""dtype":"F32","shape":[02],"data_offsets":[0,8]"#)),
        .init("dimension beyond 64 bits", one(#""dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,8]"#)),
        .init("unknown field", one(good + #","strides":[1]"#)),
        .init("field twice", one(good + #","dtype":"F32""#)),
        .init("tensor twice", safetensors(#"{"x":{\#(good)},"x":{\#(good)}}"#, data: 8)),
        .init("metadata twice", safetensors(#"{"__metadata__":{},"__metadata__":{}}"#)),
        .init("metadata value is a number", safetensors(#"{"__metadata__":{"a":1}}"#)),
        .init("metadata key twice", safetensors(#"{"__metadata__":{"a":"1","a":"2"}}"#)),
        .init("shape larger than the data", one(#""dtype":"F32","shape":[3],"data_offsets":[0,8]"#)),
        .init("shape smaller than the data", one(#""dtype":"F32","shape":[1],"data_offsets":[0,8]"#)),
        .init("dtype narrower than the data", one(#""dtype":"F16","shape":[2],"data_offsets":[0,8]"#)),
        .init(
            "element count overflows to 0",
            one(#""dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]"#, data: 0)),
        .init(
            "partial product overflows before a 0",
            one(#""dtype":"F32","shape":[4294967296,4294967296,0],"data_offsets":[0,0]"#, data: 0)),
        .init(
            "byte count overflows to 0",
            one(#""dtype":"F64","shape":[4611686018427387904],"data_offsets":[0,0]"#, data: 0)),
        .init("half a byte", one(#""dtype":"F4","shape":[3],"data_offsets":[0,1]"#, data: 1)),
        .init("offsets reversed", one(#""dtype":"F32","shape":[2],"data_offsets":[8,0]"#)),
        .init("gap at the start", one(#""dtype":"F32","shape":[1],"data_offsets":[4,8]"#)),
        .init("data after the last tensor", one(good, data: 9)),
        .init("data without tensors", safetensors("{}", data: 1)),
        .init("offset beyond the file", one(good, data: 7), .safetensorsTruncated),
        .init(
            "offset far beyond the file",
            one(#""dtype":"U8","shape":[1000000000000],"data_offsets":[0,1000000000000]"#),
            .safetensorsTruncated),
        .init(
            "overlap",
            safetensors(
                #"{"x":{\#(good)},"y":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#, data: 12)),
        .init(
            "gap between tensors",
            safetensors(
                #"{"x":{\#(good)},"y":{"dtype":"F32","shape":[1],"data_offsets":[12,16]}}"#, data: 16)),
        .init(
            "same place twice",
            safetensors(#"{"x":{\#(good)},"y":{\#(good)}}"#, data: 8)),
    ]
}
