import MoruBase

/// Reads the records of all files of a source, in the order of their paths.
public struct SourceReader {
    /// The files.
    public let files: DataFiles
    private let delimiter: Character?
    private var number = 0
    private var reader: (any RecordReader)?

    /// Finds the files.
    ///
    /// - Throws: As ``DataFiles/init(_:)``.
    public init(_ source: DataSource) throws(MoruError) {
        files = try DataFiles(source)
        delimiter = source.delimiter
    }

    /// The next record, or nil at the end.
    ///
    /// - Throws: What the file's format throws, naming file and line. Reading may go on after it.
    public mutating func next() throws(MoruError) -> DataRecord? {
        while true {
            if reader == nil {
                guard number < files.files.count else { return nil }
                let file = files.files[number]
                // A file that cannot be opened is not tried again
                number += 1
                reader = try Self.open(file, delimiter: delimiter)
            }
            if let record = try reader?.next() { return record }
            reader = nil
        }
    }

    private static func open(_ file: DataFile, delimiter: Character?) throws(MoruError) -> any RecordReader {
        switch file.format {
        case .jsonl: try JSONLReader(path: file.path)
        case .json: try JSONArrayReader(path: file.path)
        case .csv: try CSVReader(path: file.path, delimiter: delimiter)
        case .tsv: try CSVReader(path: file.path, delimiter: delimiter ?? "\t")
        case .text: DocumentReader(path: file.path)
        }
    }
}
