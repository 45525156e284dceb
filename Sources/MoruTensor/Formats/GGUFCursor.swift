import MoruBase

/// Reads GGUF's little-endian values one after the other, never past the end of the file.
struct GGUFCursor {
    let path: String
    let bytes: UnsafeRawBufferPointer
    private(set) var position = 0

    init(file: MappedFile) {
        path = file.path
        bytes = file.bytes
    }

    /// Bytes between here and the end of the file.
    var remaining: Int { bytes.count - position }

    mutating func integer<T: FixedWidthInteger>(
        _ type: T.Type, _ what: @autoclosure () -> String
    ) throws(MoruError) -> T {
        try need(MemoryLayout<T>.size, what())
        defer { position += MemoryLayout<T>.size }
        return T(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: T.self))
    }

    /// A `u64` that counts things of at least `bytesEach` bytes, all of which must fit the rest of the file.
    mutating func count(bytesEach: Int, _ what: @autoclosure () -> String) throws(MoruError) -> Int {
        let value = try integer(UInt64.self, what())
        guard value < 1 << 48 else {
            throw malformed("\(what()) is \(value), which no file can hold")
        }
        let total = Int(value) * bytesEach
        guard total <= remaining else {
            throw truncated("\(what()) is \(value), which needs \(total) bytes or more, but \(remaining) are left")
        }
        return Int(value)
    }

    mutating func string(_ what: @autoclosure () -> String) throws(MoruError) -> String {
        let length = try count(bytesEach: 1, "the length of \(what())")
        let content = UnsafeRawBufferPointer(rebasing: bytes[position..<(position + length)])
        // Decoding repairs what is not valid, which shows; validating takes ten times as long for tokens
        var text = content.withMemoryRebound(to: UInt8.self) { String(decoding: $0, as: UTF8.self) }
        let isValid = text.withUTF8 { $0.elementsEqual(content) }
        guard isValid else { throw malformed("\(what()) is not valid UTF-8") }
        position += length
        return text
    }

    /// The integers of an array whose length has been checked.
    mutating func integers<T: FixedWidthInteger>(
        _ type: T.Type, count: Int, _ what: @autoclosure () -> String
    ) throws(MoruError) -> [Int] {
        try need(count * MemoryLayout<T>.size, what())
        var values: [Int] = []
        values.reserveCapacity(count)
        for _ in 0..<count {
            let value = T(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: T.self))
            guard let exact = Int(exactly: value) else { throw unsupported("\(what()) holds \(value), beyond 63 bits") }
            values.append(exact)
            position += MemoryLayout<T>.size
        }
        return values
    }

    mutating func skip(_ count: Int) { position += count }

    func malformed(_ what: String) -> MoruError {
        MoruError(
            .ggufMalformed, "\(path), byte \(position): \(what)",
            remedy: "the file is damaged or not GGUF: download or convert it again")
    }

    func truncated(_ what: String) -> MoruError {
        MoruError(
            .ggufTruncated, "\(path) is incomplete, byte \(position): \(what)", remedy: "download the file again")
    }

    func unsupported(
        _ what: String, remedy: String = "use a file that a current llama.cpp wrote"
    ) -> MoruError {
        MoruError(.ggufUnsupported, "\(path): \(what)", remedy: remedy)
    }

    private func need(_ count: Int, _ what: @autoclosure () -> String) throws(MoruError) {
        if count > remaining { throw truncated("\(what()) needs \(count) bytes, \(remaining) are left") }
    }
}
