import Foundation
import MoruBase
import MoruTensor
import Testing

/// Damaged files are refused or read, and never crash. `MORU_TEST_FUZZ_SECONDS` runs longer than the default second.
@Suite struct FormatFuzzTests {
    let folder: TemporaryFolder
    static let seconds =
        ProcessInfo.processInfo.environment["MORU_TEST_FUZZ_SECONDS"].flatMap(Double.init) ?? 1

    init() throws { folder = try TemporaryFolder() }

    /// Changes bytes at random for a while; everything that still opens is read to its last byte.
    private func fuzz(
        _ seed: UInt64, _ whole: [UInt8], codes: Set<MoruError.Code>,
        open: (String) throws(MoruError) -> any TensorSource
    ) throws {
        var generator = RandomGenerator(seed: seed)
        let deadline = ContinuousClock.now + .seconds(Self.seconds)
        var opened = 0
        var refused = 0
        while ContinuousClock.now < deadline {
            let bytes = Self.damaged(whole, using: &generator)
            let path = try folder.write(bytes)
            do throws(MoruError) {
                let source = try open(path)
                opened += 1
                for name in source.names {
                    guard let info = source.info(name), info.dtype != nil else { continue }
                    let tensor = try source.tensor(name)
                    #expect(tensor.rawBytes.count == info.byteRange.count)
                }
            } catch {
                refused += 1
                #expect(codes.contains(error.code), "\(error)")
            }
        }
        print("FUZZ", opened, refused)
        #expect(opened > 0 && refused > 0, "\(opened) opened, \(refused) refused")
    }

    private static func damaged(_ whole: [UInt8], using generator: inout RandomGenerator) -> [UInt8] {
        var bytes = whole
        for _ in 0..<Int.random(in: 1...4, using: &generator) {
            guard !bytes.isEmpty else { break }
            let position = Int.random(in: 0..<bytes.count, using: &generator)
            switch Int.random(in: 0..<7, using: &generator) {
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
        let tensors = tensorsOfEveryDType([.f32, .f16, .bf16, .i64, .i32]) + [("empty", Tensor.ones([0, 4]))]
        try Safetensors.write(tensors, metadata: ["format": "pt", "k": "a \"b\" \n"], to: folder("whole"))
        let codes: Set<MoruError.Code> = [.safetensorsMalformed, .safetensorsTruncated]
        try fuzz(11, FileSystem.read(folder("whole")), codes: codes) { path throws(MoruError) in
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
        try fuzz(12, FileSystem.read(folder("whole")), codes: codes) { path throws(MoruError) in
            try GGUFFile(path: path)
        }
    }
}
