/// How a number or text is laid out in a field: what `%` and `format` have in common.
struct JinjaFieldSpec {
    var fill = " "
    /// `<`, `>`, `^` or `=`; nil for the type's own.
    var align: Unicode.Scalar?
    /// `+`, `-` or a space.
    var sign: Unicode.Scalar = "-"
    var isAlternate = false
    var width = 0
    /// `,` or `_` between thousands.
    var grouping: String?
    var precision: Int?
    var type: Unicode.Scalar?
}

extension JinjaInterpreter {
    /// Python's `format % arguments`.
    func formatPercent(_ format: String, _ arguments: JinjaValue) throws(JinjaError) -> String {
        var positional = [arguments]
        if case .tuple(let items) = arguments { positional = items.items }
        var used = 0
        var usedMapping = false
        var result = ""
        try budget.scan(format)
        let scalars = Array(format.unicodeScalars)
        var index = 0
        func peek() throws(JinjaError) -> Unicode.Scalar {
            guard index < scalars.count else { throw JinjaError("incomplete format") }
            return scalars[index]
        }
        func next() throws(JinjaError) -> JinjaValue {
            guard used < positional.count else { throw JinjaError("not enough arguments for format string") }
            used += 1
            return positional[used - 1]
        }
        func number() throws(JinjaError) -> Int? {
            if try peek() == "*" {
                index += 1
                return try Optional(try next()).integer(0)
            }
            var digits = ""
            while try "0"..."9" ~= peek() {
                digits.unicodeScalars.append(scalars[index])
                index += 1
            }
            return digits.isEmpty ? nil : Int(digits) ?? .max
        }
        try budget.allocate(format.utf8.count)
        while index < scalars.count {
            let scalar = scalars[index]
            index += 1
            guard scalar == "%" else {
                result.unicodeScalars.append(scalar)
                continue
            }
            var spec = JinjaFieldSpec()
            var value: JinjaValue?
            if try peek() == "(" {
                guard let close = scalars[index...].firstIndex(of: ")") else {
                    throw JinjaError("incomplete format key")
                }
                guard case .dict(let dict) = arguments else { throw JinjaError("format requires a mapping") }
                let key = String(scalars[(index + 1)..<close])
                guard let found = dict.get(key) else { throw JinjaError("format: no value for \(key.pythonRepr)") }
                value = found
                usedMapping = true
                index = close + 1
            }
            while try "-+ #0".unicodeScalars.contains(peek()) {
                switch scalars[index] {
                case "-": spec.align = "<"
                case "0": if spec.align == nil { (spec.fill, spec.align) = ("0", "=") }
                case "#": spec.isAlternate = true
                case " ": if spec.sign != "+" { spec.sign = " " }
                default: spec.sign = scalars[index]
                }
                index += 1
            }
            if spec.align == "<" { spec.fill = " " }
            if let width = try number() { spec.width = width }
            if try peek() == "." {
                index += 1
                spec.precision = try number() ?? 0
            }
            while try "hlL".unicodeScalars.contains(peek()) { index += 1 }
            let type = try peek()
            index += 1
            if type == "%" {
                result += "%"
                continue
            }
            if value == nil { value = try next() }
            result += try formatPercentField(value ?? .null, type, spec)
        }
        if !usedMapping, used < positional.count {
            if case .dict = arguments { return result }
            if case .list = arguments, used == 0 { return result }
            throw JinjaError("not all arguments converted during string formatting")
        }
        return result
    }

    private func formatPercentField(
        _ value: JinjaValue, _ type: Unicode.Scalar, _ spec: JinjaFieldSpec
    ) throws(JinjaError) -> String {
        var spec = spec
        if spec.align == nil { spec.align = ">" }
        switch type {
        case "s", "r", "a":
            if spec.align == "=" { (spec.align, spec.fill) = (">", " ") }
            let text = type == "s" ? try self.text(of: value) : try repr(of: value)
            spec.type = "s"
            return try layOut(text: text, spec)
        case "c":
            if spec.align == "=" { (spec.align, spec.fill) = (">", " ") }
            spec.type = "s"
            spec.precision = nil
            if let text = value.string, text.unicodeScalars.count == 1 { return try layOut(text: text, spec) }
            guard let code = value.index.flatMap({ UInt32(exactly: $0) }), let scalar = Unicode.Scalar(code) else {
                throw JinjaError("%c requires an integer or a single character")
            }
            return try layOut(text: String(scalar), spec)
        case "d", "i", "u", "x", "X", "o":
            let isDecimal = type == "d" || type == "i" || type == "u"
            if case .undefined(let undefined) = value { throw JinjaError(undefined.message) }
            var integer = value.index
            if isDecimal, case .double(let number) = value { integer = Int(exactly: number.rounded(.towardZero)) }
            guard let integer else {
                throw JinjaError("%\(type) format: a number is required, not \(value.typeName)")
            }
            spec.type = isDecimal ? "d" : type
            let minimum = spec.precision ?? 0
            spec.precision = nil
            return try layOut(integer: integer, spec, minimumDigits: minimum)
        case "f", "F", "e", "E", "g", "G":
            if case .undefined(let undefined) = value { throw JinjaError(undefined.message) }
            guard let number = value.number else { throw JinjaError("must be real number, not \(value.typeName)") }
            spec.type = type
            spec.precision = spec.precision ?? 6
            return try layOut(double: number, spec)
        default: throw JinjaError("unsupported format character '\(type)'")
        }
    }

    // MARK: Laying out

    /// One value by a `format` specification.
    func layOut(_ value: JinjaValue, _ spec: JinjaFieldSpec) throws(JinjaError) -> String {
        switch value {
        case .string(let text): return try layOut(text: text, spec)
        case .int, .bool:
            let number = value.index ?? 0
            if let type = spec.type, "eEfFgG%".unicodeScalars.contains(type) {
                return try layOut(double: Double(number), spec)
            }
            return try layOut(integer: number, spec, minimumDigits: 0)
        case .double(let number): return try layOut(double: number, spec)
        default: throw JinjaError("unsupported format string passed to \(value.typeName).__format__")
        }
    }

    private func layOut(text: String, _ spec: JinjaFieldSpec) throws(JinjaError) -> String {
        guard spec.type == nil || spec.type == "s" else {
            throw JinjaError("Unknown format code '\(spec.type ?? "s")' for object of type 'str'")
        }
        guard spec.align != "=" else { throw JinjaError("'=' alignment not allowed in string format specifier") }
        let cut = spec.precision.map { String(text.unicodeScalars.prefix($0)) } ?? text
        return try aligned(sign: "", cut, spec, natural: "<")
    }

    private func layOut(integer: Int, _ spec: JinjaFieldSpec, minimumDigits: Int) throws(JinjaError) -> String {
        guard spec.precision == nil else { throw JinjaError("Precision not allowed in integer format specifier") }
        var digits: String
        var prefix = ""
        switch spec.type {
        case nil, "d", "n": digits = String(integer.magnitude)
        case "x": (digits, prefix) = (String(integer.magnitude, radix: 16), "0x")
        case "X": (digits, prefix) = (String(integer.magnitude, radix: 16, uppercase: true), "0X")
        case "o": (digits, prefix) = (String(integer.magnitude, radix: 8), "0o")
        case "b": (digits, prefix) = (String(integer.magnitude, radix: 2), "0b")
        case "c":
            guard let scalar = UInt32(exactly: integer).flatMap({ Unicode.Scalar($0) }) else {
                throw JinjaError("%c arg not in range(0x110000)")
            }
            return try aligned(sign: "", String(scalar), spec, natural: "<")
        default: throw JinjaError("Unknown format code '\(spec.type ?? "d")' for object of type 'int'")
        }
        if digits.utf8.count < minimumDigits {
            digits = try repeated("0", minimumDigits - digits.utf8.count) + digits
        }
        if let grouping = spec.grouping { digits = JinjaNumber.grouped(digits, by: grouping) }
        let sign = Self.sign(isNegative: integer < 0, spec) + (spec.isAlternate ? prefix : "")
        return try aligned(sign: sign, digits, spec, natural: ">")
    }

    private func layOut(double: Double, _ spec: JinjaFieldSpec) throws(JinjaError) -> String {
        if let precision = spec.precision, precision > JinjaNumber.maximumPrecision {
            throw JinjaError("precision too big: \(precision)")
        }
        let magnitude = double.magnitude
        var text: String
        switch spec.type {
        case nil:
            if let precision = spec.precision {
                text = JinjaNumber.general(magnitude, max(precision, 1))
                let isWhole = text.utf8.allSatisfy { 0x30...0x39 ~= $0 }
                if isWhole, magnitude.isFinite { text += ".0" }
            } else {
                text = magnitude.pythonRepr
            }
        case "f", "F": text = JinjaNumber.fixed(magnitude, spec.precision ?? 6)
        case "e": text = JinjaNumber.exponent(magnitude, spec.precision ?? 6)
        case "E": text = JinjaNumber.exponent(magnitude, spec.precision ?? 6).uppercased()
        case "g": text = JinjaNumber.general(magnitude, max(spec.precision ?? 6, 1), keepsZeros: spec.isAlternate)
        case "G":
            text = JinjaNumber.general(magnitude, max(spec.precision ?? 6, 1), keepsZeros: spec.isAlternate)
                .uppercased()
        case "%": text = JinjaNumber.fixed(magnitude * 100, spec.precision ?? 6) + "%"
        default: throw JinjaError("Unknown format code '\(spec.type ?? "f")' for object of type 'float'")
        }
        if let grouping = spec.grouping {
            let whole = text.prefix { $0.isASCII && $0.isNumber }
            text = JinjaNumber.grouped(String(whole), by: grouping) + text.dropFirst(whole.count)
        }
        return try aligned(
            sign: Self.sign(isNegative: double.sign == .minus && !double.isNaN, spec), text, spec, natural: ">")
    }

    private static func sign(isNegative: Bool, _ spec: JinjaFieldSpec) -> String {
        isNegative ? "-" : spec.sign == "-" ? "" : String(spec.sign)
    }

    private func aligned(
        sign: String, _ text: String, _ spec: JinjaFieldSpec, natural: Unicode.Scalar
    ) throws(JinjaError) -> String {
        try budget.scan(text)
        try budget.allocate(text.utf8.count)
        let missing = spec.width - text.unicodeScalars.count - sign.utf8.count
        guard missing > 0 else { return sign + text }
        switch spec.align ?? natural {
        case "<": return sign + text + (try repeated(spec.fill, missing))
        case "=": return sign + (try repeated(spec.fill, missing)) + text
        case "^":
            let left = missing / 2
            return try repeated(spec.fill, left) + sign + text + (try repeated(spec.fill, missing - left))
        default: return try repeated(spec.fill, missing) + sign + text
        }
    }
}
