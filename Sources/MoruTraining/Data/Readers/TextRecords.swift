import Foundation
import MoruBase

/// The texts of a file, one for each thing to be done with them in bulk.
public enum TextRecords {
    /// A text and where it stands.
    public struct Item: Sendable, Hashable {
        /// Where it stands.
        public var place: DataPlace
        /// The text.
        public var text: String
        /// The record that it came with; of a line of text, one with the text alone.
        public var record: JSONObject

        init(place: DataPlace, text: String, record: JSONObject) {
            (self.place, self.text, self.record) = (place, text, record)
        }

        /// A text that is a record of its own.
        public init(_ text: String, _ place: DataPlace) {
            self.init(place: place, text: text, record: JSONObject([("text", .string(text))]))
        }
    }

    private static let lineEndings: Set<String> = ["txt", "text", "md"]

    /// Reads the texts: the lines of a `.txt` or `.md` file that are not blank, or a field of the records of JSONL,
    /// JSON, CSV and TSV.
    ///
    /// - Parameters:
    ///   - path: The file.
    ///   - field: The field or column; unused for lines.
    /// - Throws: ``MoruError/Code/dataMalformed`` when a record lacks the field, or what reading throws.
    public static func read(_ path: String, field: String = "text") throws(MoruError) -> [Item] {
        if lineEndings.contains((path as NSString).pathExtension.lowercased()) {
            return lines(try FileSystem.readText(path), path: path)
        }
        var reader = try SourceReader(DataSource(path))
        var items: [Item] = []
        while let record = try reader.next() {
            guard let text = record.value[field]?.string else {
                let names = record.value.object?.keys ?? []
                let nearest = nearestName(to: field, among: names).map { "; the nearest is \($0)" } ?? ""
                throw MoruError(
                    .dataMalformed, "\(record.place): there is no text in the field \"\(field)\"",
                    remedy:
                        "name the field that holds the text (--field NAME); the record has \(names.joined(separator: ", "))\(nearest)"
                )
            }
            items.append(
                Item(place: record.place, text: text, record: record.value.object ?? JSONObject()))
        }
        return items
    }

    /// The lines of a text that are not blank.
    public static func lines(_ text: String, path: String) -> [Item] {
        var items: [Item] = []
        for (number, line) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated()
        where line.contains(where: { !$0.isWhitespace }) {
            items.append(Item(String(line), DataPlace(path: path, line: number + 1)))
        }
        return items
    }
}
