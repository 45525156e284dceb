import MoruBase

/// A metadata entry to write.
public struct GGUFField: Sendable, Equatable {
    /// The key, such as `general.architecture`.
    public let key: String
    /// The value.
    public let value: MetadataValue
    /// How to store the value, or each element of an array.
    public let type: GGUFValueType

    /// Makes an entry.
    ///
    /// - Parameter type: How to store the value, or the elements of an array. By default integers become `uint32`
    ///   (arrays `int32`), or `int64` when one does not fit, and floating-point numbers `float32`.
    public init(_ key: String, _ value: MetadataValue, as type: GGUFValueType? = nil) {
        self.key = key
        self.value = value
        self.type = type ?? Self.defaultType(for: value)
    }

    private static func defaultType(for value: MetadataValue) -> GGUFValueType {
        switch value {
        case .int(let value) where UInt32(exactly: value) != nil: .uint32
        case .int(let value): Int32(exactly: value) == nil ? .int64 : .int32
        case .ints(let values): values.allSatisfy { Int32(exactly: $0) != nil } ? .int32 : .int64
        case .double, .doubles: .float32
        case .bool: .bool
        case .string, .strings: .string
        }
    }
}

/// A tensor to write, made when its turn comes, so that a file may be larger than the memory.
public struct GGUFTensor: Sendable {
    /// The tensor's name.
    public let name: String
    /// The size of each dimension, outermost first.
    public let shape: [Int]
    /// How the elements are stored.
    public let dtype: DType
    /// Makes the tensor, of that shape and dtype.
    public let make: @Sendable () throws -> Tensor

    /// Makes an entry.
    public init(_ name: String, shape: [Int], dtype: DType, make: @escaping @Sendable () throws -> Tensor) {
        (self.name, self.shape, self.dtype, self.make) = (name, shape, dtype, make)
    }

    /// The bytes of its data.
    public var byteCount: Int { dtype.byteCount(of: shape.reduce(1, *)) ?? 0 }
}

/// Writes GGUF version 3, little-endian.
public enum GGUFWriter {
    /// Writes a file, whole or not at all; the same input gives the same bytes.
    ///
    /// Shapes are written in GGUF's order, innermost dimension first; quantised bytes pass through as they are. Data
    /// is aligned to 32 bytes, or to `general.alignment` when the metadata has it.
    ///
    /// - Throws: ``MoruError/Code/tensorNameInvalid`` for a name or key used twice, ``MoruError/Code/ggufUnsupported``
    ///   for what the format cannot hold, or what `FileSystem.writeAtomically` throws.
    public static func write(
        metadata: [GGUFField], tensors: [(name: String, tensor: Tensor)], to path: String
    ) throws {
        let entries = tensors.map { entry in
            GGUFTensor(entry.name, shape: entry.tensor.shape, dtype: entry.tensor.dtype) { entry.tensor }
        }
        try write(metadata: metadata, tensors: entries, to: path)
    }

    /// Writes a file, whole or not at all, of tensors that are made one after the other.
    ///
    /// - Parameter progress: Called with the number of tensors written.
    /// - Throws: As the other overload, and what making a tensor throws.
    public static func write(
        metadata: [GGUFField], tensors: [GGUFTensor], to path: String, progress: (Int) -> Void = { _ in }
    ) throws {
        let alignment = try checked(metadata, tensors, path: path)
        var header = GGUFBytes()
        header.append(raw: GGUFFile.magic)
        header.append(UInt32(3))
        header.append(UInt64(tensors.count))
        header.append(UInt64(metadata.count))
        for field in metadata { try header.append(field, path: path) }
        var offset = 0
        for tensor in tensors {
            header.append(tensor.name)
            header.append(UInt32(tensor.shape.count))
            for size in tensor.shape.reversed() { header.append(UInt64(size)) }
            header.append(GGUFTensorType.number(of: tensor.dtype))
            header.append(UInt64(offset))
            offset = aligned(offset + tensor.byteCount, alignment)
        }
        header.append(raw: padding(after: header.bytes.count, alignment))
        try FileSystem.writeAtomically(to: path) { writer in
            try writer.write(header.bytes)
            for (done, entry) in tensors.enumerated() {
                progress(done)
                let tensor = try entry.make()
                precondition(
                    tensor.shape == entry.shape && tensor.dtype == entry.dtype,
                    "\(entry.name) was to be \(entry.dtype) \(entry.shape), not \(tensor.dtype) \(tensor.shape)")
                try writer.write(tensor: tensor)
                try writer.write(padding(after: tensor.byteCount, alignment))
            }
            progress(tensors.count)
        }
    }

    private static func checked(
        _ metadata: [GGUFField], _ tensors: [GGUFTensor], path: String
    ) throws(MoruError) -> Int {
        var keys: Set<String> = []
        for field in metadata where !keys.insert(field.key).inserted {
            throw MoruError(.tensorNameInvalid, "\(path): metadata key \"\(field.key)\" is used twice")
        }
        var names: Set<String> = []
        for tensor in tensors {
            let name = tensor.name
            guard names.insert(name).inserted else {
                throw MoruError(.tensorNameInvalid, "\(path): tensor name \"\(name)\" is used twice")
            }
            guard tensor.shape.count <= GGUFTensorTable.maximumRank else {
                throw MoruError(
                    .ggufUnsupported,
                    "\(path): tensor \"\(name)\" has shape \(tensor.shape); GGUF holds at most 4 "
                        + "dimensions", remedy: "reshape it, or write safetensors")
            }
            guard (tensor.shape.last ?? 1) % tensor.dtype.blockElements == 0 else {
                throw MoruError(
                    .ggufUnsupported,
                    "\(path): tensor \"\(name)\" has rows of \(tensor.shape.last ?? 1) elements, no "
                        + "whole number of \(tensor.dtype.rawValue) blocks", remedy: "store it in f16 or f32")
            }
        }
        guard let field = metadata.first(where: { $0.key == "general.alignment" }) else {
            return GGUFFile.defaultAlignment
        }
        guard field.type == .uint32, let value = field.value.int, 8...(1 << 20) ~= value, value & (value - 1) == 0
        else {
            throw MoruError(
                .ggufUnsupported, "\(path): general.alignment must be a uint32 power of two from 8 to 1048576",
                remedy: "leave it out for the default of 32")
        }
        return value
    }

    private static func aligned(_ offset: Int, _ alignment: Int) -> Int {
        (offset + alignment - 1) / alignment * alignment
    }

    private static func padding(after count: Int, _ alignment: Int) -> [UInt8] {
        [UInt8](repeating: 0, count: aligned(count, alignment) - count)
    }
}

/// The bytes of a GGUF header under construction.
private struct GGUFBytes {
    var bytes: [UInt8] = []

    mutating func append(raw: [UInt8]) { bytes += raw }

    mutating func append(_ value: some FixedWidthInteger) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    mutating func append(_ text: String) {
        append(UInt64(text.utf8.count))
        bytes.append(contentsOf: text.utf8)
    }

    mutating func append(_ field: GGUFField, path: String) throws(MoruError) {
        append(field.key)
        switch field.value {
        case .ints(let values):
            appendArrayHead(field, count: values.count)
            for value in values { try append(.int(value), of: field, path: path) }
        case .doubles(let values):
            appendArrayHead(field, count: values.count)
            for value in values { try append(.double(value), of: field, path: path) }
        case .strings(let values):
            appendArrayHead(field, count: values.count)
            for value in values { try append(.string(value), of: field, path: path) }
        default:
            append(field.type.rawValue)
            try append(field.value, of: field, path: path)
        }
    }

    private mutating func appendArrayHead(_ field: GGUFField, count: Int) {
        append(GGUFValueType.array.rawValue)
        append(field.type.rawValue)
        append(UInt64(count))
    }

    private mutating func append(_ value: MetadataValue, of field: GGUFField, path: String) throws(MoruError) {
        var fits = true
        switch (value, field.type) {
        case (.int(let value), .uint8): fits = append(value, as: UInt8.self)
        case (.int(let value), .int8): fits = append(value, as: Int8.self)
        case (.int(let value), .uint16): fits = append(value, as: UInt16.self)
        case (.int(let value), .int16): fits = append(value, as: Int16.self)
        case (.int(let value), .uint32): fits = append(value, as: UInt32.self)
        case (.int(let value), .int32): fits = append(value, as: Int32.self)
        case (.int(let value), .uint64): fits = append(value, as: UInt64.self)
        case (.int(let value), .int64): fits = append(value, as: Int64.self)
        case (.int(let value), .bool):
            fits = 0...1 ~= value
            if fits { append(UInt8(value)) }
        case (.double(let value), .float32): append(Float(value).bitPattern)
        case (.double(let value), .float64): append(value.bitPattern)
        case (.bool(let value), .bool): append(UInt8(value ? 1 : 0))
        case (.string(let value), .string): append(value)
        default: fits = false
        }
        guard fits else {
            throw MoruError(
                .ggufUnsupported, "\(path): metadata key \"\(field.key)\": \(value) cannot be stored as \(field.type)")
        }
    }

    private mutating func append<T: FixedWidthInteger>(_ value: Int, as type: T.Type) -> Bool {
        guard let exact = T(exactly: value) else { return false }
        append(exact)
        return true
    }
}
