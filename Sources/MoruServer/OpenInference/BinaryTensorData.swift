import MoruBase

/// The part of a body that follows its JSON: tensors one after the other, little-endian, row by row, without padding
/// (the binary tensor data extension of the Open Inference Protocol).
struct BinaryTensorData: Sendable, Hashable {
    private var rest: ArraySlice<UInt8>

    /// Makes a reader.
    init(_ bytes: ArraySlice<UInt8> = []) { rest = bytes }

    /// The bytes that no tensor has taken.
    var count: Int { rest.count }

    /// The next bytes.
    ///
    /// - Throws: ``APIError`` that names the field when there are fewer.
    mutating func take(_ count: Int, for param: String) throws(APIError) -> ArraySlice<UInt8> {
        guard count <= rest.count else {
            throw .wrongValue(param, "is \(count), and \(rest.count) bytes of binary data are left in the body")
        }
        defer { rest = rest.dropFirst(count) }
        return rest.prefix(count)
    }

    /// Strings, each after its length in 4 bytes.
    ///
    /// - Throws: ``APIError`` that names the field when the bytes end early.
    static func strings(in bytes: ArraySlice<UInt8>, param: String) throws(APIError) -> [[UInt8]] {
        var (strings, rest): ([[UInt8]], ArraySlice<UInt8>) = ([], bytes)
        while !rest.isEmpty {
            let length = rest.count < 4 ? Int.max : Int(unsigned(rest.prefix(4)))
            guard length <= rest.count - 4 else {
                throw .wrongValue(
                    param, "does not fit: the string \(strings.count) of the binary data goes beyond its end")
            }
            strings.append(Array(rest.dropFirst(4).prefix(length)))
            rest = rest.dropFirst(4 + length)
        }
        return strings
    }

    /// Whole numbers of an integer type.
    ///
    /// - Throws: ``APIError`` that names the field when there is a number above 2^63 - 1, or a part of one.
    static func integers(
        in bytes: ArraySlice<UInt8>, _ datatype: TensorDatatype, param: String
    ) throws(APIError) -> [Int] {
        let size = datatype.byteCount ?? 1
        guard bytes.count % size == 0 else {
            throw .wrongValue(param, "is \(bytes.count), which is not a multiple of the \(size) bytes of an element")
        }
        var integers: [Int] = []
        integers.reserveCapacity(bytes.count / size)
        for begin in stride(from: bytes.startIndex, to: bytes.endIndex, by: size) {
            let pattern = unsigned(bytes[begin..<begin + size])
            let unused = 64 - size * 8
            // The sign is in the topmost bit of the element, not of the pattern
            let value = datatype.isSigned ? Int(Int64(bitPattern: pattern << unused) >> unused) : Int(exactly: pattern)
            guard let value else { throw .wrongValue(param, "belongs to data with the number \(pattern)") }
            integers.append(value)
        }
        return integers
    }

    /// The bytes of strings, each after its length in 4 bytes.
    static func encode(_ strings: [String]) -> [UInt8] {
        strings.reduce(into: []) { bytes, string in
            let utf8 = Array(string.utf8)
            bytes += littleEndian(UInt32(utf8.count)) + utf8
        }
    }

    /// The bytes of numbers.
    static func encode(_ numbers: [Float]) -> [UInt8] {
        numbers.reduce(into: []) { $0 += littleEndian($1.bitPattern) }
    }

    private static func unsigned(_ bytes: ArraySlice<UInt8>) -> UInt64 {
        bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    private static func littleEndian(_ value: UInt32) -> [UInt8] {
        (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }
}
