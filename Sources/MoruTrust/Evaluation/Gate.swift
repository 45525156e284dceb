import Foundation
import MoruBase

/// A condition that a model must meet, such as `accuracy >= 0.8`.
///
/// A figure's name may be followed by `.lower` or `.upper`, the ends of its interval (`accuracy.lower >= 0.8` holds only
/// where the sample is large enough to tell), and by `.change`, its difference from the first model's
/// (`accuracy.change >= -0.01`, `accuracy.change.lower > 0`). A figure of a label needs no more of its name than tells
/// it from others: `accuracy` for `sentiment.accuracy`, where there is one label. `%` divides by 100.
public struct Gate: Sendable, Hashable {
    /// How the figure and the limit are compared.
    public enum Relation: String, Sendable, CaseIterable {
        case atLeast = ">=", atMost = "<=", above = ">", below = "<"

        func holds(_ value: Double, _ limit: Double) -> Bool {
            switch self {
            case .atLeast: value >= limit
            case .atMost: value <= limit
            case .above: value > limit
            case .below: value < limit
            }
        }
    }

    /// Which number of the figure counts.
    enum Bound: String, Sendable {
        case value, lower, upper
    }

    /// The gate as it is written.
    public let text: String
    /// The figure's name, or the end of it.
    public let figure: String
    let bound: Bound
    /// Whether it is about the difference from the first model.
    public let isChange: Bool
    let relation: Relation
    let limit: Double

    /// Reads a gate.
    ///
    /// - Throws: ``MoruError/Code/evaluationGate`` when it is none.
    public init(_ text: String) throws(MoruError) {
        self.text = text.trimmingWhitespace()
        func wrong(_ what: String) -> MoruError {
            MoruError(
                .evaluationGate, "\"\(text)\" is not a gate: \(what)",
                remedy: "write a figure, >=, <=, > or <, and a number, as in: accuracy >= 0.8")
        }
        // The longer signs first
        guard
            let (relation, range) = Relation.allCases.lazy.compactMap({ item in
                text.range(of: item.rawValue).map { (item, $0) }
            }).first
        else { throw wrong("it compares nothing") }
        self.relation = relation
        var number = String(text[range.upperBound...]).trimmingWhitespace()
        let isPercent = number.hasSuffix("%")
        if isPercent { number = String(number.dropLast()).trimmingWhitespace() }
        guard let limit = Double(number), limit.isFinite else { throw wrong("\"\(number)\" is not a number") }
        self.limit = isPercent ? limit / 100 : limit
        var parts = String(text[..<range.lowerBound]).trimmingWhitespace().split(separator: ".").map(String.init)
        bound = parts.last.flatMap { $0 == "value" ? nil : Bound(rawValue: $0) } ?? .value
        if bound != .value { parts.removeLast() }
        isChange = parts.last == "change"
        if isChange { parts.removeLast() }
        figure = parts.joined(separator: ".")
        guard !figure.isEmpty else { throw wrong("it names no figure") }
    }

    /// The figure that is meant, of those there are.
    ///
    /// - Throws: ``MoruError/Code/evaluationGate`` when none is, or several are.
    func kind(among kinds: [Figure.Kind]) throws(MoruError) -> Figure.Kind {
        if let exact = kinds.first(where: { $0.name == figure }) { return exact }
        let matching = kinds.filter { $0.name.hasSuffix(".\(figure)") }
        // A label's own figure before those of its values
        let shortest = matching.map { $0.name.count { $0 == "." } }.min()
        let candidates = matching.filter { $0.name.count { $0 == "." } == shortest }
        if candidates.count == 1 { return candidates[0] }
        guard candidates.isEmpty else {
            throw MoruError(
                .evaluationGate, "the gate \"\(text)\" may mean several figures",
                remedy: "name one of \(candidates.map(\.name).joined(separator: ", "))")
        }
        // Whole names, and their ends without the label's
        let names = kinds.map(\.name) + kinds.map { String($0.name.drop { $0 != "." }.dropFirst()) }
        let nearest = nearestName(to: figure, among: names.filter { !$0.isEmpty })
        throw MoruError(
            .evaluationGate, "the gate \"\(text)\" names a figure that this evaluation does not give",
            remedy: nearest.map { "did you mean \($0)?" }
                ?? "there are \(kinds.filter { !$0.isDetail }.map(\.name).joined(separator: ", "))")
    }

    /// Looks at a model's figures.
    ///
    /// - Parameter first: The first model's figures, for a change; nil when this is the first model.
    func outcome(of model: String, _ figures: [Figure], first: [Figure]?) throws(MoruError) -> GateOutcome? {
        let kind = try kind(among: figures.map(\.kind))
        let figure = figures.first { $0.kind == kind }
        guard !isChange || first != nil else { return nil }
        let change = first?.first { $0.kind == kind }.flatMap { figure?.difference(from: $0) }
        let (value, interval) = isChange ? (change?.value, change?.interval) : (figure?.value, figure?.interval)
        let found: Double? =
            switch bound {
            case .value: value
            case .lower: interval?.lower
            case .upper: interval?.upper
            }
        return GateOutcome(
            gate: self, model: model, kind: kind, value: found, passes: found.map { relation.holds($0, limit) } ?? false
        )
    }
}

/// Whether a model meets a gate.
public struct GateOutcome: Sendable, Hashable {
    /// The gate.
    public let gate: Gate
    /// The model's name.
    public let model: String
    /// The figure that the gate is about.
    public let kind: Figure.Kind
    /// The number that was compared; nil where the figure, or its interval, is undefined, and then it does not pass.
    public let value: Double?
    /// Whether the gate is met.
    public let passes: Bool

    /// The outcome as an object.
    public var json: JSON {
        [
            "gate": .string(gate.text), "model": .string(model), "figure": .string(kind.name),
            "value": value.map { .double($0) } ?? .null, "passed": .bool(passes),
        ]
    }
}
