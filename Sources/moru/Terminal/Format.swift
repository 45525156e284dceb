import Foundation

/// Numbers as people read them.
enum Format {
    /// A count with a suffix: `134.5M`.
    static func count(_ count: Int) -> String {
        switch count {
        case ..<1000: "\(count)"
        case ..<1_000_000: "\(fixed(Double(count) / 1e3, 1))k"
        case ..<1_000_000_000: "\(fixed(Double(count) / 1e6, 1))M"
        default: "\(fixed(Double(count) / 1e9, 2))B"
        }
    }

    /// A number with a fixed number of decimals.
    static func fixed(_ value: Double, _ decimals: Int) -> String { String(format: "%.\(decimals)f", value) }

    /// A share as a percentage with one decimal.
    static func percent(_ share: Double) -> String { "\(fixed(share * 100, 1)) %" }

    /// A length of time: `42 s`, `3 min 20 s`.
    static func duration(_ seconds: Double) -> String {
        guard seconds.isFinite, seconds >= 0 else { return "?" }
        if seconds < 10 { return "\(fixed(seconds, 1)) s" }
        let whole = Int(seconds.rounded())
        if whole < 60 { return "\(whole) s" }
        if whole < 3600 { return "\(whole / 60) min \(whole % 60) s" }
        return "\(whole / 3600) h \(whole % 3600 / 60) min"
    }
}
