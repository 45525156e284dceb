import Foundation
import MoruBase
import MoruTensor
import Testing

/// Damaged files are refused or read, and never crash. `MORU_TEST_FUZZ_CASES` tries more than the default.
@Suite struct FormatFuzzTests {
    let folder: TemporaryFolder
    static let cases = ProcessInfo.processInfo.environment["MORU_TEST_FUZZ_CASES"].flatMap(Int.init) ?? 10_000

    init() throws { folder = try TemporaryFolder() }

    /// Damages a file again and again; everything that still opens is read to its last byte.
    ///
    /// Every case has a seed of its own, which a failure names.
    private func fuzz(
        _ whole: [UInt8], codes: Set<MoruError.Code>, open: (String) throws(MoruError) -> any TensorSource
    ) throws {
        // One open file, rewritten: a new file for every case would wait for the disk.
        let path = try folder.write(whole)
        let file = try FileHandle(forUpdating: URL(filePath: path))
        var opened = 0
        for seed in 0..<UInt64(Self.cases) {
            var generator = RandomGenerator(seed: seed)
            let bytes = Self.damaged(whole, using: &generator)
            try file.seek(toOffset: 0)
            try file.write(contentsOf: bytes)
            try file.truncate(atOffset: UInt64(bytes.count))
            do throws(MoruError) {
                let source = try open(path)
                opened += 1
                for name in source.names {
                    guard let info = source.info(name), info.dtype != nil else { continue }
                    if try source.tensor(name).rawBytes.count != info.byteRange.count {
                        Issue.record("case \(seed): \(info) is read as another size")
                    }
                }
            } catch {
                if !codes.contains(error.code) { Issue.record("case \(seed): \(error)") }
            }
        }
        // Both outcomes must be well represented, or the damage tests nothing.
        #expect(opened > Self.cases / 50 && opened < Self.cases * 49 / 50, "\(opened) of \(Self.cases) opened")
    }

    private static func damaged(_ whole: [UInt8], using generator: inout RandomGenerator) -> [UInt8] {
        var bytes = whole
        for _ in 0..<Int.random(in: 1...3, using: &generator) {
            guard !bytes.isEmpty else { break }
            let position = Int.random(in: 0..<bytes.count, using: &generator)
            switch Int.random(in: 0..<12, using: &generator) {
            case 7...: bytes[position] = bytes.randomElement(using: &generator) ?? 0
            case 0: bytes[position] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
            case 1: bytes[position] = UInt8.random(in: 0...255, using: &generator)
            case 2: bytes[position] = [0, 1, 0x7F, 0x80, 0xFF].randomElement(using: &generator) ?? 0
            case 3: bytes.removeLast(bytes.count - position)
            case 4: bytes.insert(contentsOf: bytes[position...].prefix(16), at: position)
            case 5: bytes.removeSubrange(position..<min(bytes.count, position + 8))
            default:
                // A large 64-bit number where a length or an offset may be.
                let number: UInt64 = .max >> UInt64.random(in: 0..<64, using: &generator)
                withUnsafeBytes(of: number.littleEndian) { word in
                    for (index, byte) in word.enumerated() where position + index < bytes.count {
                        bytes[position + index] = byte
                    }
                }
            }
        }
        return bytes
    }

    @Test(.timeLimit(.minutes(20))) func damagedSafetensorsNeverCrash() throws {
        let tensors =
            tensorsOfEveryDType([.f32, .f16, .bf16, .i64, .i32]) + [
                ("empty", Tensor.ones([0, 4])), ("big", Tensor.ones([500])),
            ]
        try Safetensors.write(tensors, metadata: ["format": "pt", "k": "a \"b\" \n"], to: folder("whole"))
        let codes: Set<MoruError.Code> = [.safetensorsMalformed, .safetensorsTruncated]
        try fuzz(FileSystem.read(folder("whole")), codes: codes) { path throws(MoruError) in
            try SafetensorsFile(path: path)
        }
    }

    @Test(.timeLimit(.minutes(20))) func damagedGGUFNeverCrashes() throws {
        let fields: [GGUFField] = [
            GGUFField("general.architecture", .string("llama")), GGUFField("general.alignment", .int(32)),
            GGUFField("u64", .int(7), as: .uint64), GGUFField("f64", .double(1), as: .float64),
            GGUFField("flag", .bool(true)), GGUFField("flags", .ints([0, 1]), as: .bool),
            GGUFField("tokens", .strings(["a", "é", "<s>"])), GGUFField("scores", .doubles([1, 2])),
            GGUFField("kinds", .ints([1, 2, 3])), GGUFField("bytes", .ints([1, 2, 3]), as: .uint8),
        ]
        let dtypes: [DType] = [.f32, .bf16, .i64, .q4_0, .q8_0, .q4_K]
        try GGUFWriter.write(metadata: fields, tensors: tensorsOfEveryDType(dtypes), to: folder("whole"))
        let codes: Set<MoruError.Code> = [.ggufMalformed, .ggufTruncated, .ggufUnsupported]
        try fuzz(FileSystem.read(folder("whole")), codes: codes) { path throws(MoruError) in
            try GGUFFile(path: path)
        }
    }
}
