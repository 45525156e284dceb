extension JinjaInterpreter {
    /// The `tojson` filter as chat templates know it: Python's `json.dumps`, by default without escaping what is not
    /// ASCII.
    func toJSON(_ value: JinjaValue, _ arguments: JinjaArguments) throws(JinjaError) -> String {
        let bound = try arguments.bind("tojson", "ensure_ascii", "indent", "separators", "sort_keys")
        var writer = JinjaJSONWriter(ensuresASCII: bound[0].flag(false), sortsKeys: bound[3].flag(false))
        if let indent = bound[1], !indent.isNone {
            if case .string(let text) = indent {
                writer.indent = text
            } else {
                writer.indent = try repeated(" ", try bound[1].integer(0))
            }
            writer.itemSeparator = ","
        }
        if let separators = bound[2], !separators.isNone {
            let parts = try separators.iterated()
            guard parts.count == 2, let item = parts[0].string, let key = parts[1].string else {
                throw JinjaError("separators must be a pair of strings")
            }
            writer.itemSeparator = item
            writer.keySeparator = key
        }
        try writer.write(value, depth: 0)
        try budget.scan(writer.output)
        try budget.allocate(writer.output.utf8.count)
        return writer.output
    }
}

/// Writes values as Python's `json.dumps` does.
private struct JinjaJSONWriter {
    let ensuresASCII: Bool
    let sortsKeys: Bool
    var indent: String?
    var itemSeparator = ", "
    var keySeparator = ": "
    var output = ""

    init(ensuresASCII: Bool, sortsKeys: Bool) {
        self.ensuresASCII = ensuresASCII
        self.sortsKeys = sortsKeys
    }

    mutating func write(_ value: JinjaValue, depth: Int) throws(JinjaError) {
        switch value {
        case .null: output += "null"
        case .bool(let flag): output += flag ? "true" : "false"
        case .int(let number): output += String(number)
        case .double(let number): output += Self.text(number)
        case .string(let text): write(text)
        case .list(let items), .tuple(let items):
            guard !items.items.isEmpty else {
                output += "[]"
                return
            }
            output += "["
            for (position, item) in items.items.enumerated() {
                separate(position, depth: depth + 1)
                try write(item, depth: depth + 1)
            }
            newline(depth)
            output += "]"
        case .dict(let dict): try write(dict, depth: depth)
        default: throw JinjaError("Object of type \(value.typeName) is not JSON serializable")
        }
    }

    private mutating func write(_ dict: JinjaDict, depth: Int) throws(JinjaError) {
        guard dict.count > 0 else {
            output += "{}"
            return
        }
        var order: [JinjaValue] = dict.keys.indices.map { .int($0) }
        if sortsKeys { order = try order.pythonSorted(by: dict.keys, reverse: false) }
        output += "{"
        for (position, place) in order.enumerated() {
            guard let place = place.index else { continue }
            separate(position, depth: depth + 1)
            switch dict.keys[place] {
            case .string(let text): write(text)
            case .null: write("null")
            case .bool(let flag): write(flag ? "true" : "false")
            case .int(let number): write(String(number))
            case .double(let number): write(Self.text(number))
            default:
                throw JinjaError(
                    "keys must be str, int, float, bool or None, not \(dict.keys[place].typeName)")
            }
            output += keySeparator
            try write(dict.values[place], depth: depth + 1)
        }
        newline(depth)
        output += "}"
    }

    private mutating func separate(_ position: Int, depth: Int) {
        if position > 0 { output += itemSeparator }
        newline(depth)
    }

    private mutating func newline(_ depth: Int) {
        guard let indent else { return }
        output += "\n"
        for _ in 0..<depth { output += indent }
    }

    private static func text(_ number: Double) -> String {
        if number.isNaN { return "NaN" }
        if number.isInfinite { return number < 0 ? "-Infinity" : "Infinity" }
        return number.pythonRepr
    }

    private mutating func write(_ text: String) {
        output += "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": output += "\\\""
            case "\\": output += "\\\\"
            case "\n": output += "\\n"
            case "\r": output += "\\r"
            case "\t": output += "\\t"
            case "\u{08}": output += "\\b"
            case "\u{0C}": output += "\\f"
            case _ where scalar.value < 0x20 || (ensuresASCII && scalar.value > 0x7E):
                for unit in String(scalar).utf16 {
                    let digits = String(unit, radix: 16)
                    output += "\\u" + String(repeating: "0", count: 4 - digits.utf8.count) + digits
                }
            default: output.unicodeScalars.append(scalar)
            }
        }
        output += "\""
    }
}
