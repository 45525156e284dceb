import MoruBase

/// The filters: what may follow `|`.
enum JinjaFilters {
    static let text: Set<String> = [
        "capitalize", "center", "e", "escape", "forceescape", "format", "indent", "lower", "replace", "safe", "string",
        "striptags", "title", "trim", "truncate", "upper", "urlencode", "wordwrap", "xmlattr",
    ]
    static let sequence: Set<String> = [
        "batch", "count", "dictsort", "first", "groupby", "items", "join", "last", "length", "list", "map", "max",
        "min", "reject", "rejectattr", "reverse", "select", "selectattr", "slice", "sort", "sum", "unique",
    ]
    static let value: Set<String> = [
        "abs", "attr", "d", "default", "filesizeformat", "float", "int", "pprint", "round", "tojson", "wordcount",
    ]

    /// Those that do not look through the whole value.
    static let quick: Set<String> = ["count", "d", "default", "first", "length"]

    /// The names, for `is filter` and for messages.
    static let names = text.union(sequence).union(value)
}

extension JinjaInterpreter {
    /// `value|name(arguments)`.
    func applyFilter(
        _ name: String, to value: JinjaValue, _ arguments: JinjaArguments
    ) throws(JinjaError) -> JinjaValue {
        if !JinjaFilters.quick.contains(name) { try budget.traverse(value) }
        if JinjaFilters.sequence.contains(name) { return try applySequenceFilter(name, value, arguments) }
        if JinjaFilters.text.contains(name) { return .string(try applyTextFilter(name, value, arguments)) }
        switch name {
        case "abs":
            _ = try arguments.bind(name)
            switch value {
            case .double(let number): return .double(number.magnitude)
            case .int(let number) where number < 0: return try negate(value)
            case .int: return value
            case .bool(let flag): return .int(flag ? 1 : 0)
            default: throw JinjaError("bad operand type for abs(): '\(value.typeName)'")
            }
        case "attr":
            let bound = try arguments.bind(name, "name", required: 1)
            return try attributeOnly(try bound[0].text(""), of: value)
        case "d", "default":
            let bound = try arguments.bind(name, "default_value", "boolean")
            let isMissing = value.isUndefined || (bound[1].flag(false) && !value.isTrue)
            return isMissing ? bound[0] ?? .string("") : value
        case "filesizeformat":
            let bound = try arguments.bind(name, "binary")
            return .string(try fileSize(try toDouble(value), binary: bound[0].flag(false)))
        case "float":
            let bound = try arguments.bind(name, "default")
            if case .undefined(let undefined) = value { throw JinjaError(undefined.message) }
            return value.pythonDouble.map { .double($0) } ?? bound[0] ?? .double(0)
        case "int":
            let bound = try arguments.bind(name, "default", "base")
            return try toInteger(value, fallback: bound[0] ?? .int(0), base: try bound[1].integer(10))
        case "pprint":
            _ = try arguments.bind(name, "verbose")
            return .string(try repr(of: value))
        case "round": return try round(value, arguments)
        case "wordcount":
            _ = try arguments.bind(name)
            return .int(Self.wordCount(try text(of: value)))
        case "tojson": return .string(try toJSON(value, arguments))
        default: throw unknown("filter", name, among: JinjaFilters.names)
        }
    }

    /// The error for a filter or test that does not exist.
    func unknown(_ kind: String, _ name: String, among names: Set<String>) -> JinjaError {
        let nearest = nearestName(to: name, among: names.sorted())
        return JinjaError("there is no \(kind) named '\(name)'", remedy: nearest.map { "did you mean '\($0)'?" })
    }

    /// The `attr` filter: an attribute and nothing else.
    private func attributeOnly(_ name: String, of value: JinjaValue) throws(JinjaError) -> JinjaValue {
        if case .dict = value, !JinjaMethods.names(value).contains(name) {
            return .missing("'\(value.describedType)' has no attribute '\(name)'")
        }
        return try attribute(name, of: value)
    }

    // MARK: Numbers

    private func toDouble(_ value: JinjaValue) throws(JinjaError) -> Double {
        guard let number = value.pythonDouble else {
            throw JinjaError("could not convert \(try value.repr()) to a number")
        }
        return number
    }

    private func toInteger(_ value: JinjaValue, fallback: JinjaValue, base: Int) throws(JinjaError) -> JinjaValue {
        if case .undefined(let undefined) = value { throw JinjaError(undefined.message) }
        if let number = value.index { return .int(number) }
        if case .string(let text) = value, let number = try text.pythonInteger(base: base) { return .int(number) }
        guard let number = value.pythonDouble else { return fallback }
        if case .double = value, number.isInfinite { throw JinjaError("cannot convert float infinity to integer") }
        guard number.isFinite else { return fallback }
        guard let integer = Int(exactly: number.rounded(.towardZero)) else {
            throw JinjaError("the number \(number.pythonRepr) does not fit 64 bits", kind: .limit)
        }
        return .int(integer)
    }

    private func round(_ value: JinjaValue, _ arguments: JinjaArguments) throws(JinjaError) -> JinjaValue {
        let bound = try arguments.bind("round", "precision", "method")
        let precision = try bound[0].integer(0)
        let method = try bound[1].text("common")
        guard ["common", "ceil", "floor"].contains(method) else {
            throw JinjaError("method must be common, ceil or floor")
        }
        guard let number = value.number else {
            throw JinjaError("type \(value.typeName) doesn't define __round__ method")
        }
        if method == "common" {
            if let integer = value.index, precision >= 0 { return .int(integer) }
            let rounded = number.pythonRounded(to: precision)
            return value.index == nil ? .double(rounded) : .int(Int(exactly: rounded) ?? 0)
        }
        let scale = Double.pythonPower(ofTen: precision)
        let scaled = (number * scale).rounded(method == "ceil" ? .up : .down)
        guard scaled.isFinite else { throw JinjaError("cannot convert float \(scaled.pythonRepr) to integer") }
        return .double((scaled == 0 ? 0 : scaled) / scale)
    }

    private func fileSize(_ bytes: Double, binary: Bool) throws(JinjaError) -> String {
        let base: Double = binary ? 1024 : 1000
        if bytes == 1 { return "1 Byte" }
        if bytes < base { return "\(Int(bytes)) Bytes" }
        var unit = base
        let prefixes =
            binary ? ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"] : ["k", "M", "G", "T", "P", "E", "Z", "Y"]
        for prefix in prefixes {
            unit *= base
            if bytes < unit || prefix == prefixes.last {
                return JinjaNumber.fixed(base * bytes / unit, 1) + " \(prefix)B"
            }
        }
        return ""
    }
}

extension JinjaValue {
    /// Python's `float(value)`, or nil where that fails.
    var pythonDouble: Double? {
        if let number { return number }
        guard case .string(let text) = self else { return nil }
        let trimmed = text.pythonStripped().lowercased()
        let unsigned = trimmed.pythonStripped(of: "+-", right: false)
        guard trimmed.utf8.count - unsigned.utf8.count <= 1 else { return nil }
        let isNegative = trimmed.utf8.first == UInt8(ascii: "-")
        switch unsigned {
        case "inf", "infinity": return isNegative ? -.infinity : .infinity
        case "nan": return .nan
        default: break
        }
        guard unsigned.utf8.allSatisfy({ "0123456789._e+-".utf8.contains($0) }), !unsigned.isEmpty,
            let digits = unsigned.withoutDigitSeparators
        else { return nil }
        // Swift wants a digit on both sides of the point; Python does not.
        var parts = digits.split(separator: "e", omittingEmptySubsequences: false).map(String.init)
        guard parts.count <= 2, parts[0] != "." else { return nil }
        if parts[0].utf8.first == UInt8(ascii: ".") { parts[0] = "0" + parts[0] }
        if parts[0].utf8.last == UInt8(ascii: ".") { parts[0] += "0" }
        guard let value = Double(parts.joined(separator: "e")) else { return nil }
        return isNegative ? -value : value
    }
}

extension String {
    /// The text without underscores between digits; nil where they stand elsewhere.
    var withoutDigitSeparators: String? {
        guard utf8.contains(0x5F) else { return self }
        let bytes = Array(utf8)
        for (position, byte) in bytes.enumerated() where byte == 0x5F {
            func isDigit(_ place: Int) -> Bool {
                bytes.indices.contains(place) && (0x30...0x39 ~= bytes[place] || 0x61...0x66 ~= bytes[place])
            }
            guard isDigit(position - 1), isDigit(position + 1) else { return nil }
        }
        return filter { $0 != "_" }
    }

    /// Python's `int(text, base)`, or nil where that fails.
    func pythonInteger(base: Int) throws(JinjaError) -> Int? {
        guard base == 0 || 2...36 ~= base else { return nil }
        var text = pythonStripped().lowercased()
        var isNegative = false
        if let sign = text.utf8.first, sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+") {
            isNegative = sign == UInt8(ascii: "-")
            text = String(text.unicodeScalars.dropFirst())
        }
        var radix = base
        for (prefix, value) in [("0x", 16), ("0o", 8), ("0b", 2)]
        where (base == 0 || base == value) && text.utf8.starts(with: prefix.utf8) {
            radix = value
            text = String(text.unicodeScalars.dropFirst(2))
        }
        guard let digits = text.withoutDigitSeparators, !digits.isEmpty,
            digits.utf8.first != UInt8(ascii: "-"), digits.utf8.first != UInt8(ascii: "+"),
            digits.unicodeScalars.allSatisfy({ $0.isASCII })
        else { return nil }
        radix = radix == 0 ? 10 : radix
        if let value = Int((isNegative ? "-" : "") + digits, radix: radix) { return value }
        guard digits.allSatisfy({ $0.hexDigitValue.map { $0 < radix } ?? (radix > 16) }) else { return nil }
        throw JinjaError("the number \(digits) does not fit 64 bits", kind: .limit)
    }
}
