import MoruBase

/// Reads the key-value section of a GGUF file.
struct GGUFMetadataReader {
    /// More array elements than the metadata of any model has; bounds what a hostile file can make us allocate.
    static let maximumArrayElements = 1 << 25

    private var arrayElements = 0

    /// Reads `count` pairs of key and value.
    static func read(count: Int, from cursor: inout GGUFCursor) throws(MoruError) -> Metadata {
        var reader = GGUFMetadataReader()
        var metadata = Metadata(minimumCapacity: count)
        for number in 0..<count {
            let key = try cursor.string("the key of metadata entry \(number)")
            let value = try reader.value(of: key, from: &cursor)
            guard metadata.updateValue(value, forKey: key) == nil else {
                throw cursor.malformed("metadata key \"\(key)\" occurs twice")
            }
        }
        return metadata
    }

    private mutating func value(of key: String, from cursor: inout GGUFCursor) throws(MoruError) -> MetadataValue {
        switch try type(of: key, from: &cursor) {
        case .uint8: return .int(Int(try cursor.integer(UInt8.self, key)))
        case .int8: return .int(Int(try cursor.integer(Int8.self, key)))
        case .uint16: return .int(Int(try cursor.integer(UInt16.self, key)))
        case .int16: return .int(Int(try cursor.integer(Int16.self, key)))
        case .uint32: return .int(Int(try cursor.integer(UInt32.self, key)))
        case .int32: return .int(Int(try cursor.integer(Int32.self, key)))
        case .int64: return .int(Int(try cursor.integer(Int64.self, key)))
        case .uint64:
            let value = try cursor.integer(UInt64.self, key)
            guard let exact = Int(exactly: value) else {
                throw cursor.unsupported("metadata key \"\(key)\" is \(value), beyond 63 bits")
            }
            return .int(exact)
        case .float32: return .double(Double(Float(bitPattern: try cursor.integer(UInt32.self, key))))
        case .float64: return .double(Double(bitPattern: try cursor.integer(UInt64.self, key)))
        case .bool: return .bool(try bool(key, from: &cursor) == 1)
        case .string: return .string(try cursor.string("metadata key \"\(key)\""))
        case .array: return try array(of: key, from: &cursor)
        }
    }

    private mutating func array(of key: String, from cursor: inout GGUFCursor) throws(MoruError) -> MetadataValue {
        let element = try type(of: key, from: &cursor)
        let count = try cursor.count(bytesEach: element.minimumBytes, "the length of metadata array \"\(key)\"")
        arrayElements += count
        guard arrayElements <= Self.maximumArrayElements else {
            throw cursor.malformed("metadata array \"\(key)\" has \(count) elements, more than any model needs")
        }
        switch element {
        case .uint8: return .ints(try cursor.integers(UInt8.self, count: count, key))
        case .int8: return .ints(try cursor.integers(Int8.self, count: count, key))
        case .uint16: return .ints(try cursor.integers(UInt16.self, count: count, key))
        case .int16: return .ints(try cursor.integers(Int16.self, count: count, key))
        case .uint32: return .ints(try cursor.integers(UInt32.self, count: count, key))
        case .int32: return .ints(try cursor.integers(Int32.self, count: count, key))
        case .int64: return .ints(try cursor.integers(Int64.self, count: count, key))
        case .uint64: return .ints(try cursor.integers(UInt64.self, count: count, key))
        case .bool:
            var values: [Int] = []
            for _ in 0..<count { values.append(try bool(key, from: &cursor)) }
            return .ints(values)
        case .float32:
            var values: [Double] = []
            values.reserveCapacity(count)
            for _ in 0..<count {
                values.append(Double(Float(bitPattern: try cursor.integer(UInt32.self, key))))
            }
            return .doubles(values)
        case .float64:
            var values: [Double] = []
            values.reserveCapacity(count)
            for _ in 0..<count { values.append(Double(bitPattern: try cursor.integer(UInt64.self, key))) }
            return .doubles(values)
        case .string:
            var values: [String] = []
            values.reserveCapacity(count)
            for number in 0..<count {
                values.append(try cursor.string("element \(number) of metadata array \"\(key)\""))
            }
            return .strings(values)
        case .array:
            throw cursor.unsupported("metadata key \"\(key)\" is an array of arrays, which Moru does not read")
        }
    }

    private func type(of key: String, from cursor: inout GGUFCursor) throws(MoruError) -> GGUFValueType {
        let number = try cursor.integer(UInt32.self, "the type of metadata key \"\(key)\"")
        guard let type = GGUFValueType(rawValue: number) else {
            throw cursor.malformed("metadata key \"\(key)\" has the unknown type \(number)")
        }
        return type
    }

    private func bool(_ key: String, from cursor: inout GGUFCursor) throws(MoruError) -> Int {
        let byte = try cursor.integer(UInt8.self, key)
        guard byte <= 1 else { throw cursor.malformed("metadata key \"\(key)\" has \(byte) for a boolean") }
        return Int(byte)
    }
}
