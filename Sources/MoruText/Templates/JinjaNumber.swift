import Foundation

/// Numbers as text, the way C and Python write them.
enum JinjaNumber {
    /// More digits than this are refused: no double has them.
    static let maximumPrecision = 1100

    static func fixed(_ value: Double, _ precision: Int) -> String { c("%.*f", value, precision) }
    static func exponent(_ value: Double, _ precision: Int) -> String { c("%.*e", value, precision) }
    static func general(_ value: Double, _ precision: Int, keepsZeros: Bool = false) -> String {
        c(keepsZeros ? "%#.*g" : "%.*g", value, precision)
    }

    private static func c(_ format: String, _ value: Double, _ precision: Int) -> String {
        if value.isNaN { return "nan" }
        if value.isInfinite { return value < 0 ? "-inf" : "inf" }
        var buffer = [CChar](repeating: 0, count: 2048)
        let arguments: [any CVarArg] = [Int32(min(max(precision, 0), maximumPrecision)), value]
        let count = withVaList(arguments) { vsnprintf(&buffer, buffer.count, format, $0) }
        return String(decoding: buffer[..<max(0, Int(count))].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Digits with a separator after every third from the right.
    static func grouped(_ digits: String, by separator: String) -> String {
        var result = ""
        let count = digits.utf8.count
        for (position, digit) in digits.unicodeScalars.enumerated() {
            if position > 0, (count - position) % 3 == 0 { result += separator }
            result.unicodeScalars.append(digit)
        }
        return result
    }
}

extension Double {
    /// Python's `round(value, digits)`: to the nearest decimal, ties to even, exact on the binary value.
    func pythonRounded(to digits: Int) -> Double {
        guard isFinite, digits < 324 else { return self }
        if digits >= 0 { return Double(JinjaNumber.fixed(self, digits)) ?? self }
        guard digits > -310 else { return 0 * self }
        let scale = Self.pythonPower(ofTen: -digits)
        return (self / scale).rounded(.toNearestOrEven) * scale
    }

    /// Ten to an integer power.
    static func pythonPower(ofTen exponent: Int) -> Double { pow(10, Double(exponent)) }
}
