import MoruBase

/// Reads a file that is one JSON array of objects, an element at a time.
struct JSONArrayReader: RecordReader {
    private let file: MappedFile
    private var position = 0
    private var line = 1
    private var state = State.start

    private enum State {
        case start, afterOpening, afterElement, afterComma, end
    }

    /// Opens a file.
    ///
    /// - Throws: ``MoruError/Code/fileNotFound`` or ``MoruError/Code/fileUnreadable``.
    init(path: String) throws(MoruError) {
        file = try MappedFile(path: path)
        if file.bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
    }

    /// Whether the first byte that is not blank opens an object, as in a file of one object a line.
    static func beginsWithObject(_ path: String) throws(MoruError) -> Bool {
        var reader = try JSONArrayReader(path: path)
        reader.skipBlanks()
        return reader.byte == UInt8(ascii: "{")
    }

    /// The next element.
    ///
    /// - Throws: ``MoruError/Code/dataMalformed``, naming file and line. After an error outside an element reading ends.
    mutating func next() throws(MoruError) -> DataRecord? {
        skipBlanks()
        switch (state, byte) {
        case (.end, nil): return nil
        case (.start, UInt8(ascii: "[")):
            position += 1
            state = .afterOpening
            return try next()
        case (.start, _):
            throw malformed("the file is not a JSON array", "write one array of objects, or one object per line")
        case (.afterOpening, UInt8(ascii: "]")), (.afterElement, UInt8(ascii: "]")):
            position += 1
            state = .end
            return try next()
        case (.afterElement, UInt8(ascii: ",")):
            position += 1
            state = .afterComma
            return try next()
        case (.afterOpening, _?), (.afterComma, _?): return try element()
        case (_, nil): throw malformed("the array does not end", "the file may have been cut short; end it with ]")
        default: throw malformed("there is something between the array's elements", "separate elements by one comma")
        }
    }

    private mutating func element() throws(MoruError) -> DataRecord {
        let (begin, firstLine) = (position, line)
        state = .afterElement
        skipElement()
        let bytes = UnsafeRawBufferPointer(rebasing: file.bytes[begin..<position])
        let value: JSON
        do {
            value = try JSON.parse(bytes, source: file.path, firstLine: firstLine)
        } catch {
            throw MoruError(.dataMalformed, error.message, remedy: "each element must be one whole JSON object")
        }
        guard value.object != nil else {
            throw MoruError(
                .dataMalformed, "\(file.path), line \(firstLine): \(value.kindName) where an object is expected",
                remedy: "each element must be one whole JSON object")
        }
        return DataRecord(place: DataPlace(path: file.path, line: firstLine), value: value)
    }

    /// Goes to the comma or bracket that ends an element.
    private mutating func skipElement() {
        var depth = 0
        var isString = false
        while let byte {
            switch byte {
            case UInt8(ascii: "\""): isString.toggle()
            case UInt8(ascii: "\\") where isString: position += 1
            case UInt8(ascii: "{") where !isString, UInt8(ascii: "[") where !isString: depth += 1
            case UInt8(ascii: "]") where !isString && depth == 0, UInt8(ascii: ",") where !isString && depth == 0:
                return
            case UInt8(ascii: "}") where !isString, UInt8(ascii: "]") where !isString: depth -= 1
            case UInt8(ascii: "\n"): line += 1
            default: break
            }
            position += 1
        }
        position = min(position, file.bytes.count)
    }

    private var byte: UInt8? { position < file.bytes.count ? file.bytes[position] : nil }

    private mutating func skipBlanks() {
        while let byte, byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D {
            if byte == 0x0A { line += 1 }
            position += 1
        }
    }

    private mutating func malformed(_ what: String, _ remedy: String) -> MoruError {
        let error = MoruError(.dataMalformed, "\(file.path), line \(line): \(what)", remedy: remedy)
        (state, position) = (.end, file.bytes.count)
        return error
    }
}
