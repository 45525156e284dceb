import MoruBase

/// Reads the examples of a source one by one.
///
/// The first example decides the shape where the source does not; one of another shape is an error.
public struct ExampleReader {
    /// An example and where it stands.
    public struct Entry: Sendable {
        /// Where it stands.
        public let place: DataPlace
        /// The record as it stands there.
        public let record: JSON
        /// Its shape.
        public let shape: ExampleShape
        /// What it says.
        public let example: DataExample
    }

    private var reader: SourceReader
    private let parser: ExampleParser
    /// The shape of the examples; nil before the first.
    public private(set) var shape: ExampleShape?
    private var shapePlace: DataPlace?

    /// Opens a source.
    ///
    /// - Parameter learned: Whose messages are learnt; a conversation without any is refused.
    /// - Throws: As ``DataFiles/init(_:)``.
    public init(_ source: DataSource, learned: LearnedRoles = .assistant) throws(MoruError) {
        reader = try SourceReader(source)
        parser = ExampleParser(fields: source.fields, classification: source.classification, learned: learned)
        shape = source.shape
    }

    /// The files that are read.
    public var files: DataFiles { reader.files }

    /// The next example, or nil at the end.
    ///
    /// - Throws: ``MoruError/Code/dataMalformed`` and what the file's format throws, naming file and line. Reading may
    ///   go on after it.
    public mutating func next() throws(MoruError) -> Entry? {
        guard let record = try reader.next() else { return nil }
        let place = "\(record.place)"
        if shape == nil || shapePlace != nil {
            let found = try parser.shape(of: record.value, place: place)
            if let shape, let shapePlace, found != shape {
                throw MoruError(
                    .dataMalformed,
                    "\(place): a \(found.rawValue) example, but \(shapePlace) has a \(shape.rawValue) one",
                    remedy: "keep examples of different shapes in different files, as sources of their own")
            }
            if shape == nil { (shape, shapePlace) = (found, record.place) }
        }
        let wanted = shape ?? .text
        let example = try parser.parse(record.value, as: wanted, place: place)
        return Entry(place: record.place, record: record.value, shape: wanted, example: example)
    }
}
