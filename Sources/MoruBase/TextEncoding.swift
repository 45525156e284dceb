/// Text in UTF-8, checked.
public enum TextEncoding {
    /// The text of some bytes of a file.
    ///
    /// - Parameters:
    ///   - source: What the bytes are, for error messages: a path, or `standard input`.
    ///   - firstLine: The line on which the bytes begin.
    ///   - code: The error's code.
    /// - Throws: ``MoruError/Code/textEncoding`` or another code, naming source, line and byte, and for a whole file
    ///   the byte's offset.
    public static func text(
        _ bytes: some Collection<UInt8>, source: String, firstLine: Int = 1, code: MoruError.Code = .textEncoding
    ) throws(MoruError) -> String {
        if let text = String(validating: bytes, as: UTF8.self) { return text }
        let start = bytes.prefix(2)
        if start.elementsEqual([0xFF, 0xFE]) || start.elementsEqual([0xFE, 0xFF]) {
            throw MoruError(
                code, "\(source) is UTF-16, not UTF-8",
                remedy: "convert it: iconv -f UTF-16 -t UTF-8 \(argument(source)) > converted")
        }
        let (line, offset, byte) = firstInvalid(bytes)
        let digits = String(byte, radix: 16, uppercase: true)
        let place = firstLine == 1 ? " at offset \(offset)" : ""
        throw MoruError(
            code,
            "\(source), line \(firstLine + line): the byte 0x\(digits.count == 1 ? "0" : "")\(digits)\(place) is not "
                + "UTF-8 text",
            remedy: "if it is in a Western encoding: iconv -f WINDOWS-1252 -t UTF-8 \(argument(source)) > converted")
    }

    /// A source as an argument for the shell.
    private static func argument(_ source: String) -> String { source.contains(" ") ? "FILE" : source }

    /// The first byte that is not UTF-8, its offset, and how many line breaks are before it.
    private static func firstInvalid(_ bytes: some Collection<UInt8>) -> (line: Int, offset: Int, byte: UInt8) {
        var (line, offset) = (0, 0)
        var rest = Array(bytes)[...]
        while let byte = rest.first {
            let length = byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4
            guard String(validating: rest.prefix(length), as: UTF8.self) != nil else { return (line, offset, byte) }
            if byte == UInt8(ascii: "\n") { line += 1 }
            rest = rest.dropFirst(length)
            offset += length
        }
        return (line, offset, 0)
    }
}
