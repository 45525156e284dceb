import Foundation
import MoruBase
import MoruTensor

/// A folder that lives as long as the test that made it.
final class TemporaryFolder: Sendable {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.path + "/moru-formats-\(UUID().uuidString)"
        try FileSystem.createDirectory(path)
    }

    deinit { FileSystem.remove(path) }

    func callAsFunction(_ name: String) -> String { "\(path)/\(name)" }

    /// Writes bytes to a new file in the folder and returns its path.
    func write(_ bytes: [UInt8], as name: String = "file") throws -> String {
        try Data(bytes).write(to: URL(filePath: self(name)))
        return self(name)
    }
}

/// Little-endian bytes, appended piece by piece.
struct ByteBuilder {
    var bytes: [UInt8] = []

    @discardableResult mutating func add(_ value: some FixedWidthInteger) -> Self {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
        return self
    }

    @discardableResult mutating func add(text: String) -> Self {
        add(UInt64(text.utf8.count))
        bytes.append(contentsOf: text.utf8)
        return self
    }
}

/// A safetensors file of the given header text and data.
func safetensors(_ header: String, data count: Int = 0, headerLength: UInt64? = nil) -> [UInt8] {
    var builder = ByteBuilder()
    builder.add(headerLength ?? UInt64(header.utf8.count))
    return builder.bytes + Array(header.utf8) + (0..<count).map { UInt8(truncatingIfNeeded: $0) }
}

extension Tensor {
    /// The bytes as they are stored.
    var rawBytes: [UInt8] { [UInt8](UnsafeRawBufferPointer(start: bytes, count: byteCount)) }
    /// The bytes in hexadecimal.
    var hex: String { rawBytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() }

    /// A tensor of the given bytes.
    init(bytes: [UInt8], shape: [Int], dtype: DType) {
        self.init(uninitialized: shape, dtype: dtype)
        UnsafeMutableRawBufferPointer(start: storage.base, count: byteCount).copyBytes(from: bytes)
    }
}

/// One tensor of every dtype with pseudorandom bytes, two rows of one block each.
func tensorsOfEveryDType(_ dtypes: [DType] = DType.allCases) -> [(name: String, tensor: Tensor)] {
    var generator = RandomGenerator(seed: 5)
    return dtypes.map { dtype in
        let bytes = (0..<(2 * dtype.blockBytes)).map { _ in UInt8.random(in: 0...255, using: &generator) }
        return ("tensor.\(dtype.rawValue)", Tensor(bytes: bytes, shape: [2, dtype.blockElements], dtype: dtype))
    }
}
