import MoruBase

/// Builds GGUF bytes field by field, right or wrong.
struct GGUFSample {
    var magic = Array("GGUF".utf8)
    var version: UInt32 = 3
    var tensorCount: UInt64?
    var metadataCount: UInt64?
    var metadata: [[UInt8]] = []
    var tensors: [[UInt8]] = []
    var alignment = 32
    var data: [UInt8] = Array(0..<64)

    /// The whole file.
    var bytes: [UInt8] {
        var builder = ByteBuilder(bytes: magic)
        builder.add(version)
        builder.add(tensorCount ?? UInt64(tensors.count))
        builder.add(metadataCount ?? UInt64(metadata.count))
        for entry in metadata + tensors { builder.bytes += entry }
        while builder.bytes.count % alignment != 0 { builder.add(UInt8(0)) }
        return builder.bytes + data
    }

    /// A key, a value type and the value's bytes.
    static func entry(_ key: String, type: UInt32, _ value: [UInt8]) -> [UInt8] {
        var builder = ByteBuilder()
        builder.add(text: key)
        builder.add(type)
        return builder.bytes + value
    }

    /// The element type, length and bytes of an array.
    static func array(type: UInt32, count: UInt64, _ elements: [UInt8] = []) -> [UInt8] {
        var builder = ByteBuilder()
        builder.add(type)
        builder.add(count)
        return builder.bytes + elements
    }

    static func string(_ text: String) -> [UInt8] {
        var builder = ByteBuilder()
        return builder.add(text: text).bytes
    }

    static func integer(_ value: some FixedWidthInteger) -> [UInt8] {
        var builder = ByteBuilder()
        return builder.add(value).bytes
    }

    /// A tensor table entry; type 0 is f32.
    static func tensor(
        _ name: String = "x", dimensions: [UInt64] = [4, 2], type: UInt32 = 0, offset: UInt64 = 0, rank: UInt32? = nil
    ) -> [UInt8] {
        var builder = ByteBuilder()
        builder.add(text: name)
        builder.add(rank ?? UInt32(dimensions.count))
        for size in dimensions { builder.add(size) }
        builder.add(type)
        builder.add(offset)
        return builder.bytes
    }
}

/// A malformed GGUF file and the code that it must be refused with.
struct HostileGGUF: Sendable, CustomStringConvertible {
    let description: String
    let bytes: [UInt8]
    let code: MoruError.Code

    private init(
        _ name: String, _ code: MoruError.Code = .ggufMalformed, _ change: (inout GGUFSample) -> Void
    ) {
        var sample = GGUFSample()
        change(&sample)
        description = name
        bytes = sample.bytes
        self.code = code
    }

    private init(_ name: String, _ code: MoruError.Code = .ggufMalformed, tensors: [[UInt8]]) {
        self.init(name, code) { $0.tensors = tensors }
    }

    private init(_ name: String, _ code: MoruError.Code = .ggufMalformed, metadata: [[UInt8]]) {
        self.init(name, code) { $0.metadata = metadata }
    }

    private init(raw name: String, _ code: MoruError.Code, _ bytes: [UInt8]) {
        description = name
        self.bytes = bytes
        self.code = code
    }

    static let all: [HostileGGUF] = header + metadata + tensors

    private static let header: [HostileGGUF] = [
        .init(raw: "empty file", .ggufTruncated, []),
        .init(raw: "magic only", .ggufTruncated, Array("GGUF".utf8)),
        .init(raw: "Git LFS pointer", .ggufMalformed, Array("version https://git-lfs.github.com/spec/v1\n".utf8)),
        .init("wrong magic") { $0.magic = Array("GGUX".utf8) },
        .init("old GGML magic", .ggufUnsupported) { $0.magic = Array("tjgg".utf8) },
        .init("big-endian magic", .ggufUnsupported) { $0.magic = Array("FUGG".utf8) },
        .init("big-endian version", .ggufUnsupported) { $0.version = UInt32(3).byteSwapped },
        .init("version 0", .ggufUnsupported) { $0.version = 0 },
        .init("version 1", .ggufUnsupported) { $0.version = 1 },
        .init("version 4", .ggufUnsupported) { $0.version = 4 },
        .init("tensor count beyond the file", .ggufTruncated) { $0.tensorCount = 1000 },
        .init("tensor count 2^64 - 1") { $0.tensorCount = .max },
        .init("tensor count that overflows", .ggufMalformed) { $0.tensorCount = 1 << 60 },
        .init("metadata count beyond the file", .ggufTruncated) { $0.metadataCount = 1000 },
        .init("metadata count 2^63") { $0.metadataCount = 1 << 63 },
    ]

    private static let metadata: [HostileGGUF] = {
        let one = GGUFSample.integer(UInt32(1))
        return [
            .init("key length beyond the file", .ggufTruncated, metadata: [GGUFSample.integer(UInt64(1000))]),
            .init("key length 2^64 - 1", metadata: [GGUFSample.integer(UInt64.max) + one + one]),
            .init("key that is not UTF-8", metadata: [GGUFSample.integer(UInt64(1)) + [0xFF] + one + one]),
            .init("key twice", metadata: [GGUFSample.entry("a", type: 4, one), GGUFSample.entry("a", type: 4, one)]),
            .init("unknown type", metadata: [GGUFSample.entry("a", type: 13, one)]),
            .init("type 2^32 - 1", metadata: [GGUFSample.entry("a", type: .max, one)]),
            .init("boolean of 2", metadata: [GGUFSample.entry("a", type: 7, [2])]),
            .init(
                "integer beyond 63 bits", .ggufUnsupported,
                metadata: [GGUFSample.entry("a", type: 10, GGUFSample.integer(UInt64.max))]),
            .init(
                "string beyond the file", .ggufTruncated,
                metadata: [GGUFSample.entry("a", type: 8, GGUFSample.integer(UInt64(500)))]),
            .init(
                "string that is not UTF-8",
                metadata: [GGUFSample.entry("a", type: 8, GGUFSample.integer(UInt64(2)) + [0xC3, 0x28])]),
            .init(
                "array of strings beyond the file", .ggufTruncated,
                metadata: [GGUFSample.entry("a", type: 9, GGUFSample.array(type: 8, count: 1 << 40))]),
            .init(
                "array length 2^61, whose bytes overflow",
                metadata: [GGUFSample.entry("a", type: 9, GGUFSample.array(type: 10, count: 1 << 61))]),
            .init(
                "array of booleans with a 3",
                metadata: [GGUFSample.entry("a", type: 9, GGUFSample.array(type: 7, count: 2, [1, 3]))]),
            .init(
                "array of unknown type",
                metadata: [GGUFSample.entry("a", type: 9, GGUFSample.array(type: 99, count: 0))]),
            .init(
                "array of arrays", .ggufUnsupported,
                metadata: [
                    GGUFSample.entry(
                        "a", type: 9, GGUFSample.array(type: 9, count: 1, GGUFSample.array(type: 4, count: 1, one)))
                ]),
            .init(
                "alignment 0",
                metadata: [GGUFSample.entry("general.alignment", type: 4, GGUFSample.integer(UInt32(0)))]),
            .init(
                "alignment 48",
                metadata: [GGUFSample.entry("general.alignment", type: 4, GGUFSample.integer(UInt32(48)))]),
            .init(
                "alignment 2^31",
                metadata: [GGUFSample.entry("general.alignment", type: 4, GGUFSample.integer(UInt32(1 << 31)))]),
            .init(
                "alignment is text",
                metadata: [GGUFSample.entry("general.alignment", type: 8, GGUFSample.string("32"))]),
            .init(
                "one part of several", .ggufUnsupported,
                metadata: [GGUFSample.entry("split.count", type: 2, GGUFSample.integer(UInt16(2)))]),
        ]
    }()

    private static let tensors: [HostileGGUF] = [
        .init("name twice", tensors: [GGUFSample.tensor(), GGUFSample.tensor(offset: 32)]),
        .init("name length 2^50", tensors: [GGUFSample.integer(UInt64(1) << 50) + [UInt8](repeating: 0, count: 40)]),
        .init("five dimensions", tensors: [GGUFSample.tensor(dimensions: [1, 1, 1, 1, 1])]),
        .init("2^32 - 1 dimensions", tensors: [GGUFSample.tensor(rank: .max)]),
        .init("dimension 2^63", tensors: [GGUFSample.tensor(dimensions: [1 << 63])]),
        .init("element count overflows to 0", tensors: [GGUFSample.tensor(dimensions: [1 << 32, 1 << 32])]),
        .init(
            "partial product overflows before a 0", tensors: [GGUFSample.tensor(dimensions: [1 << 40, 1 << 40, 0])]),
        .init("byte count overflows to 0", tensors: [GGUFSample.tensor(dimensions: [1 << 62])]),
        .init("rows of half a block", tensors: [GGUFSample.tensor(dimensions: [16, 2], type: 2)]),
        .init("rows of 256 in part", tensors: [GGUFSample.tensor(dimensions: [32, 8], type: 12)]),
        .init("offset not aligned", tensors: [GGUFSample.tensor(offset: 16)]),
        .init("offset 2^63", tensors: [GGUFSample.tensor(offset: 1 << 63)]),
        .init("offset beyond the file", .ggufTruncated, tensors: [GGUFSample.tensor(offset: 1 << 40)]),
        .init("offset near 2^63", .ggufTruncated, tensors: [GGUFSample.tensor(offset: (1 << 63) - 32)]),
        .init("data beyond the file", .ggufTruncated, tensors: [GGUFSample.tensor(dimensions: [4, 5])]),
        .init("unknown type beyond the file", .ggufTruncated, tensors: [GGUFSample.tensor(type: 99, offset: 96)]),
        .init("overlap", tensors: [GGUFSample.tensor(dimensions: [16]), GGUFSample.tensor("y", offset: 32)]),
        .init("same place twice", tensors: [GGUFSample.tensor(), GGUFSample.tensor("y")]),
        .init(
            "name that is not UTF-8",
            tensors: [GGUFSample.integer(UInt64(1)) + [0x80] + [UInt8](repeating: 0, count: 32)]),
    ]
}
