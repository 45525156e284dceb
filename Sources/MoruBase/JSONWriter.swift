extension JSON {
    /// The value as JSON text.
    ///
    /// - Parameters:
    ///   - pretty: Whether to indent by two spaces, a member or element a line.
    ///   - sortedKeys: Whether to order the members by key instead of as they are.
    /// - Returns: Text in which non-finite numbers are `null`, since JSON has no way to write them.
    public func text(pretty: Bool = false, sortedKeys: Bool = false) -> String {
        var writer = JSONWriter(pretty: pretty, sortedKeys: sortedKeys)
        writer.write(self, indent: 0)
        return writer.output
    }
}

private struct JSONWriter {
    let pretty: Bool
    let sortedKeys: Bool
    var output = ""

    init(pretty: Bool, sortedKeys: Bool) {
        self.pretty = pretty
        self.sortedKeys = sortedKeys
    }

    mutating func write(_ value: JSON, indent: Int) {
        switch value {
        case .null: output += "null"
        case .bool(let value): output += value ? "true" : "false"
        case .int(let value): output += String(value)
        case .double(let value): output += value.isFinite ? "\(value)" : "null"
        case .string(let value): write(string: value)
        case .array(let elements):
            write(open: "[", close: "]", indent: indent, items: elements) { $0.write($1, indent: indent + 1) }
        case .object(let object):
            let keys = sortedKeys ? object.keys.sorted() : object.keys
            write(open: "{", close: "}", indent: indent, items: keys) { writer, key in
                writer.write(string: key)
                writer.output += writer.pretty ? ": " : ":"
                writer.write(object[key] ?? .null, indent: indent + 1)
            }
        }
    }

    private mutating func write<Item>(
        open: String, close: String, indent: Int, items: [Item], item: (inout JSONWriter, Item) -> Void
    ) {
        output += open
        for (position, element) in items.enumerated() {
            if position > 0 { output += "," }
            newline(indent + 1)
            item(&self, element)
        }
        if !items.isEmpty { newline(indent) }
        output += close
    }

    private mutating func newline(_ indent: Int) {
        guard pretty else { return }
        output += "\n" + String(repeating: "  ", count: indent)
    }

    private mutating func write(string: String) {
        output += "\""
        defer { output += "\"" }
        // Most strings are what they are
        let isPlain = string.utf8.allSatisfy {
            $0 >= 0x20 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\")
        }
        if isPlain { return output += string }
        for scalar in string.unicodeScalars {
            switch scalar {
            case "\"": output += "\\\""
            case "\\": output += "\\\\"
            case "\n": output += "\\n"
            case "\r": output += "\\r"
            case "\t": output += "\\t"
            case _ where scalar.value < 0x20:
                let digits = String(scalar.value, radix: 16)
                output += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: output.unicodeScalars.append(scalar)
            }
        }
    }
}
