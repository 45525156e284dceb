/// Escapes in string literals, as Python's `unicode-escape` codec reads them.
enum JinjaEscapes {
    private static let simple: [Unicode.Scalar: String] = [
        "\\": "\\", "'": "'", "\"": "\"", "a": "\u{07}", "b": "\u{08}", "f": "\u{0C}", "n": "\n", "r": "\r",
        "t": "\t", "v": "\u{0B}", "\n": "",
    ]
    private static let hexDigits: [Unicode.Scalar: Int] = ["x": 2, "u": 4, "U": 8]

    /// The value of a literal's inside.
    static func unescape(_ body: ArraySlice<Unicode.Scalar>, line: Int) throws(JinjaError) -> String {
        var result = ""
        var index = body.startIndex
        while index < body.endIndex {
            let scalar = body[index]
            index += 1
            guard scalar == "\\", index < body.endIndex else {
                result.unicodeScalars.append(scalar)
                continue
            }
            let escape = body[index]
            index += 1
            if let text = simple[escape] {
                result += text
            } else if let count = hexDigits[escape] {
                let digits = String(String.UnicodeScalarView(body[index...].prefix(count)))
                guard digits.utf8.count == count, let value = UInt32(digits, radix: 16), !digits.hasPrefix("+") else {
                    throw JinjaError("truncated \\\(escape) escape in a string", kind: .syntax, line: line)
                }
                guard let character = Unicode.Scalar(value) else {
                    throw JinjaError(
                        "\\\(escape)\(digits) is not a Unicode scalar", kind: .syntax, line: line,
                        remedy: "write the character itself, or \\UXXXXXXXX in place of two surrogates")
                }
                result.unicodeScalars.append(character)
                index += count
            } else if "0"..."7" ~= escape {
                var value = escape.value - 48
                var digits = 1
                while digits < 3, index < body.endIndex, "0"..."7" ~= body[index] {
                    value = value * 8 + body[index].value - 48
                    index += 1
                    digits += 1
                }
                if let character = Unicode.Scalar(value) { result.unicodeScalars.append(character) }
            } else if escape == "N" {
                throw JinjaError(
                    "\\N{name} escapes are not supported", kind: .syntax, line: line,
                    remedy: "write the character itself")
            } else if escape.isASCII {
                result += "\\"
                result.unicodeScalars.append(escape)
            } else {
                // Python first turns what is not ASCII into an escape of its own, whose backslash this one then eats.
                result += "\\" + asciiEscape(escape).dropFirst()
            }
        }
        return result
    }

    /// `\xe9`, `\u3042` or `\U0001f600`.
    static func asciiEscape(_ scalar: Unicode.Scalar) -> String {
        let digits = String(scalar.value, radix: 16)
        let (marker, width) = scalar.value < 0x100 ? ("x", 2) : scalar.value < 0x10000 ? ("u", 4) : ("U", 8)
        return "\\" + marker + String(repeating: "0", count: width - digits.utf8.count) + digits
    }
}
