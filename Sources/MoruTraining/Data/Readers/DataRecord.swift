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
        try TextEncoding.text(bytes, source: path, firstLine: firstLine, code: .dataEncoding)
    }
}
