extension Unicode.Scalar {
    /// Whether Python's `str.isspace` holds.
    var isPythonSpace: Bool {
        switch value {
        case 0x09...0x0D, 0x1C...0x20, 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000: true
        default: false
        }
    }

    /// Whether Python's `str.splitlines` breaks here.
    var isPythonLineBreak: Bool {
        switch value {
        case 0x0A...0x0D, 0x1C...0x1E, 0x85, 0x2028, 0x2029: true
        default: false
        }
    }

    /// Whether Python's `repr` shows this as it is.
    var isPythonPrintable: Bool {
        if value < 0x7F { return value >= 0x20 }
        switch properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator,
            .spaceSeparator:
            return false
        default: return true
        }
    }

    var isCased: Bool {
        properties.isUppercase || properties.isLowercase || properties.generalCategory == .titlecaseLetter
    }

    var isLetter: Bool {
        switch properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: true
        default: false
        }
    }

    var isDecimal: Bool { properties.generalCategory == .decimalNumber }
    var isDigit: Bool { properties.numericType == .decimal || properties.numericType == .digit }
    var isNumeric: Bool { properties.numericType != nil }
}

extension String {
    init(_ scalars: some Sequence<Unicode.Scalar>) {
        self.init()
        unicodeScalars.append(contentsOf: scalars)
    }

    /// Whether two strings are the same code points. (Swift's `==` also takes differently composed text for the same.)
    func isSameText(as other: String) -> Bool {
        utf8.count == other.utf8.count && utf8.elementsEqual(other.utf8)
    }

    /// Whether this comes before the other by code points, as Python orders strings.
    func isTextBefore(_ other: String) -> Bool { utf8.lexicographicallyPrecedes(other.utf8) }

    /// Python's `repr` of a string.
    var pythonRepr: String {
        let quote: Unicode.Scalar = utf8.contains(0x27) && !utf8.contains(0x22) ? "\"" : "'"
        var result = ""
        result.unicodeScalars.append(quote)
        for scalar in unicodeScalars {
            switch scalar {
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case "\\": result += "\\\\"
            case quote:
                result += "\\"
                result.unicodeScalars.append(quote)
            default:
                if scalar.isPythonPrintable {
                    result.unicodeScalars.append(scalar)
                } else {
                    result += JinjaEscapes.asciiEscape(scalar)
                }
            }
        }
        result.unicodeScalars.append(quote)
        return result
    }

    /// The lines, as Python's `str.splitlines` cuts them.
    func pythonLines(keepEnds: Bool = false) -> [String] {
        var lines: [String] = []
        var line = ""
        var afterReturn = false
        for scalar in unicodeScalars {
            if afterReturn {
                afterReturn = false
                if scalar == "\n" {
                    if keepEnds { lines[lines.count - 1] += "\n" }
                    continue
                }
            }
            if scalar.isPythonLineBreak {
                if keepEnds { line.unicodeScalars.append(scalar) }
                lines.append(line)
                line = ""
                afterReturn = scalar == "\r"
            } else {
                line.unicodeScalars.append(scalar)
            }
        }
        if !line.isEmpty { lines.append(line) }
        return lines
    }

    /// The text without the given scalars, or whitespace, at its ends.
    func pythonStripped(of unwanted: String? = nil, left: Bool = true, right: Bool = true) -> String {
        let set = unwanted.map { Set($0.unicodeScalars) }
        func drops(_ scalar: Unicode.Scalar) -> Bool { set?.contains(scalar) ?? scalar.isPythonSpace }
        var view = unicodeScalars[...]
        if left { view = view.drop(while: drops) }
        if right { while let last = view.last, drops(last) { view.removeLast() } }
        return view.count == unicodeScalars.count ? self : String(view)
    }
}

extension Double {
    /// Python's `repr` of a float: the shortest digits that read back the same.
    var pythonRepr: String {
        if isNaN { return "nan" }
        if isInfinite { return self < 0 ? "-inf" : "inf" }
        var digits = ""
        var exponent = 0
        var pointAt: Int?
        let parts = "\(magnitude)".split(separator: "e")
        for scalar in parts[0].unicodeScalars {
            if scalar == "." { pointAt = digits.utf8.count } else { digits.unicodeScalars.append(scalar) }
        }
        if parts.count > 1 { exponent = Int(parts[1]) ?? 0 }
        // The value is 0.digits times ten to the power of `point`.
        var point = (pointAt ?? digits.utf8.count) + exponent
        let leading = digits.prefix { $0 == "0" }.count
        if leading == digits.utf8.count {
            digits = "0"
            point = 1
        } else {
            digits.removeFirst(leading)
            point -= leading
            while digits.utf8.count > 1, digits.hasSuffix("0") { digits.removeLast() }
        }
        let text: String
        let count = digits.utf8.count
        if point > 16 || point < -3 {
            let power = point - 1
            let fraction = digits.dropFirst()
            let powerDigits = String(power.magnitude)
            text =
                digits.prefix(1) + (fraction.isEmpty ? "" : "." + fraction) + (power < 0 ? "e-" : "e+")
                + (powerDigits.utf8.count < 2 ? "0" : "") + powerDigits
        } else if point <= 0 {
            text = "0." + String(repeating: "0", count: -point) + digits
        } else if point >= count {
            text = digits + String(repeating: "0", count: point - count) + ".0"
        } else {
            text = digits.prefix(point) + "." + digits.dropFirst(point)
        }
        return sign == .minus ? "-" + text : text
    }
}
