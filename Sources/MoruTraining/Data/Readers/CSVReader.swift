import MoruBase

/// Reads a file of separated values with a header (RFC 4180): values in double quotes may hold the separator, line
/// breaks, and quotes written twice. Lines may end in LF or CRLF; a byte-order mark and blank lines are skipped.
///
/// Every value is a string; what an empty one means is for the reader to say.
struct CSVReader: RecordReader {
    /// The columns' names.
    private(set) var columns: [String]
    /// What separates values.
    let delimiter: Character

    private let file: MappedFile
    private let separator: UInt8
    private var position = 0
    private var line = 1

    private static let (quote, carriageReturn, lineFeed) = (UInt8(ascii: "\""), UInt8(ascii: "\r"), UInt8(ascii: "\n"))
    private static let candidates: [Character] = [",", ";", "\t", "|"]

    /// Opens a file and reads its header.
    ///
    /// - Parameter delimiter: What separates values, an ASCII character; nil takes a comma, or where the header has none
    ///   the semicolon, tab or bar that it has.
    /// - Throws: ``MoruError/Code/fileNotFound``, ``MoruError/Code/fileUnreadable``,
    ///   ``MoruError/Code/dataEncoding`` or ``MoruError/Code/dataMalformed``.
    init(path: String, delimiter: Character? = nil) throws(MoruError) {
        file = try MappedFile(path: path)
        if file.bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
        let chosen = delimiter ?? Self.delimiter(ofHeader: file.bytes[position...])
        guard let separator = chosen.asciiValue, ![Self.quote, 0x0A, 0x0D].contains(separator) else {
            throw MoruError(
                .dataMalformed, "\(path): the delimiter is \"\(chosen)\"",
                remedy: "choose one ASCII character that is not a quote, such as , or ;")
        }
        (self.delimiter, self.separator, columns) = (chosen, separator, [])
        guard let header = try row() else {
            throw MoruError(
                .dataMalformed, "\(path) has no header",
                remedy: "the first line must name the columns, as in text,label")
        }
        for (number, name) in header.values.enumerated() {
            let problem =
                name.isEmpty ? "has no name" : header.values[..<number].contains(name) ? "is a second \(name)" : nil
            if let problem {
                throw MoruError(
                    .dataMalformed, "\(path), line \(header.line): column \(number + 1) \(problem)",
                    remedy: "the first line must name each column once")
            }
        }
        columns = header.values
    }

    /// The next row as an object of strings.
    ///
    /// - Throws: ``MoruError/Code/dataMalformed`` or ``MoruError/Code/dataEncoding``, naming file and line.
    mutating func next() throws(MoruError) -> DataRecord? {
        guard let row = try row() else { return nil }
        let place = DataPlace(path: file.path, line: row.line)
        guard row.values.count == columns.count else {
            let (have, need) = (row.values.count, columns.count)
            throw MoruError(
                .dataMalformed, "\(place): the row has \(have) \(have == 1 ? "value" : "values"), the header \(need)",
                remedy: "put a value that holds \"\(delimiter)\" or a line break into double quotes")
        }
        let members = zip(columns, row.values).map { ($0, JSON.string($1)) }
        return DataRecord(place: place, value: .object(JSONObject(members)))
    }

    /// The values of the next line that is not blank.
    private mutating func row() throws(MoruError) -> (line: Int, values: [String])? {
        while let byte, byte == Self.lineFeed || byte == Self.carriageReturn { advance() }
        guard byte != nil else { return nil }
        let firstLine = line
        var values: [String] = []
        while true {
            do {
                values.append(try byte == Self.quote ? quotedValue() : plainValue())
            } catch {
                skipLine()
                throw error
            }
            guard let byte else { return (firstLine, values) }
            if byte == separator {
                advance()
                continue
            }
            if byte == Self.carriageReturn { advance() }
            if self.byte == Self.lineFeed { advance() }
            return (firstLine, values)
        }
    }

    private mutating func plainValue() throws(MoruError) -> String {
        let begin = position
        while let byte, byte != separator, byte != Self.lineFeed, byte != Self.carriageReturn { advance() }
        return try TextDecoding.text(file.bytes[begin..<position], path: file.path, firstLine: line)
    }

    private mutating func quotedValue() throws(MoruError) -> String {
        let firstLine = line
        var bytes: [UInt8] = []
        advance()
        while let byte {
            advance()
            guard byte == Self.quote else {
                bytes.append(byte)
                continue
            }
            guard self.byte == Self.quote else { return try ended(bytes, firstLine) }
            bytes.append(byte)
            advance()
        }
        throw MoruError(
            .dataMalformed, "\(file.path), line \(firstLine): a double quote opens a value that never ends",
            remedy: "close the value with a double quote; write a quote inside a value twice")
    }

    /// A quoted value, after which only a separator or the end of the line may come.
    private mutating func ended(_ bytes: [UInt8], _ firstLine: Int) throws(MoruError) -> String {
        guard byte.map({ $0 == separator || $0 == Self.lineFeed || $0 == Self.carriageReturn }) ?? true else {
            throw MoruError(
                .dataMalformed, "\(file.path), line \(line): there is text after the quote that ends a value",
                remedy: "write a quote inside a quoted value twice")
        }
        return try TextDecoding.text(bytes, path: file.path, firstLine: firstLine)
    }

    private var byte: UInt8? { position < file.bytes.count ? file.bytes[position] : nil }

    private mutating func advance() {
        if file.bytes[position] == Self.lineFeed { line += 1 }
        position += 1
    }

    private mutating func skipLine() {
        while let byte, byte != Self.lineFeed { advance() }
        if byte != nil { advance() }
    }

    /// The delimiter that a header uses: a comma if it has one, else what it has most of.
    private static func delimiter(ofHeader bytes: Slice<UnsafeRawBufferPointer>) -> Character {
        var counts: [UInt8: Int] = [:]
        var isQuoted = false
        for byte in bytes {
            if byte == quote { isQuoted.toggle() }
            if !isQuoted, byte == lineFeed || byte == carriageReturn { break }
            if !isQuoted { counts[byte, default: 0] += 1 }
        }
        func count(_ candidate: Character) -> Int { candidate.asciiValue.flatMap { counts[$0] } ?? 0 }
        if count(",") > 0 { return "," }
        return candidates.max { count($0) < count($1) }.flatMap { count($0) > 0 ? $0 : nil } ?? ","
    }
}
