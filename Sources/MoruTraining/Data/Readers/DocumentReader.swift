import MoruBase

/// Reads text files, each one document with the field `text`.
struct DocumentReader: RecordReader {
    private var path: String?

    /// A reader of one file.
    init(path: String) { self.path = path }

    /// The document; nil after it, and for a file without text.
    ///
    /// - Throws: ``MoruError/Code/dataEncoding`` or what the file system throws.
    mutating func next() throws(MoruError) -> DataRecord? {
        guard let path else { return nil }
        self.path = nil
        let file = try MappedFile(path: path)
        let bytes = file.bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? file.bytes.dropFirst(3) : file.bytes[...]
        let text = try withExtendedLifetime(file) { () throws(MoruError) in try TextDecoding.text(bytes, path: path) }
        guard text.contains(where: { !$0.isWhitespace }) else { return nil }
        return DataRecord(place: DataPlace(path: path, line: nil), value: ["text": .string(text)])
    }
}
