import MoruBase

/// Where in the data something stands.
public struct DataPlace: Sendable, Hashable, CustomStringConvertible {
    /// The file.
    public let path: String
    /// The line, counted from 1, on which it begins; nil for a whole file.
    public let line: Int?

    /// Makes a place.
    public init(path: String, line: Int? = nil) { (self.path, self.line) = (path, line) }

    /// `path, line N`.
    public var description: String { line.map { "\(path), line \($0)" } ?? path }
}

/// A record of a data file: an object with named fields.
public struct DataRecord: Sendable {
    /// Where it stands.
    public let place: DataPlace
    /// Its fields.
    public let value: JSON

    /// The line on which it begins, counted from 1.
    public var line: Int { place.line ?? 1 }
}

/// Reads the records of a file one by one, holding no more than one in memory.
protocol RecordReader {
    /// The next record, or nil at the end. Reading may go on after an error, with the record after it.
    mutating func next() throws(MoruError) -> DataRecord?
}

/// Text in UTF-8, checked.
enum TextDecoding {
    /// The text of some bytes of a file.
    ///
    /// - Parameters:
    ///   - firstLine: The line on which the bytes begin.
    /// - Throws: ``MoruError/Code/dataEncoding``, naming file, line and byte.
    static func text(
        _ bytes: some Collection<UInt8>, path: String, firstLine: Int = 1
    ) throws(MoruError) -> String {
        if let text = String(validating: bytes, as: UTF8.self) { return text }
        let start = bytes.prefix(2)
        if start.elementsEqual([0xFF, 0xFE]) || start.elementsEqual([0xFE, 0xFF]) {
            throw MoruError(
                .dataEncoding, "\(path) is UTF-16, not UTF-8",
                remedy: "convert it: iconv -f UTF-16 -t UTF-8 '\(path)' > converted")
        }
        let (line, byte) = firstInvalid(bytes)
        let digits = String(byte, radix: 16, uppercase: true)
        throw MoruError(
            .dataEncoding,
            "\(path), line \(firstLine + line): the byte 0x\(digits.count == 1 ? "0" : "")\(digits) is not UTF-8 text",
            remedy: "if the file is in a Western encoding: iconv -f WINDOWS-1252 -t UTF-8 '\(path)' > converted")
    }

    /// The first byte that is not UTF-8, and how many line breaks are before it.
    private static func firstInvalid(_ bytes: some Collection<UInt8>) -> (line: Int, byte: UInt8) {
        var line = 0
        var rest = Array(bytes)[...]
        while let byte = rest.first {
            let length = byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4
            guard String(validating: rest.prefix(length), as: UTF8.self) != nil else { return (line, byte) }
            if byte == UInt8(ascii: "\n") { line += 1 }
            rest = rest.dropFirst(length)
        }
        return (line, 0)
    }
}
