import MoruBase

/// Models evaluated on the same examples, side by side, with the gates that they must pass.
public struct EvaluationComparison: Sendable {
    /// A model's column.
    public struct Column: Sendable {
        /// The model's name.
        public let name: String
        /// What its evaluation found.
        public let report: any ScoredReport
        /// Whether the model must pass the gates.
        public let isGated: Bool

        /// Makes a column.
        public init(_ name: String, _ report: any ScoredReport, isGated: Bool = true) {
            (self.name, self.report, self.isGated) = (name, report, isGated)
        }

        /// A column of a report that was saved earlier; others are compared with it, and it need not pass gates.
        ///
        /// - Parameters:
        ///   - json: What ``ScoredReport/json(includingOutcomes:)`` gave, with outcomes.
        ///   - source: Where it was read, for error messages.
        /// - Throws: ``MoruError/Code/evaluationData`` when it is no such report.
        public init(_ name: String, saved json: JSON, source: String) throws(MoruError) {
            self.init(name, try SavedReport.read(json, source: source), isGated: false)
        }
    }

    /// A model's figure.
    public struct Cell: Sendable, Hashable {
        /// The figure; nil where the model's report has none.
        public let figure: Figure?
        /// How far it is from the first model's; nil in the first column.
        public let difference: Figure.Difference?
    }

    /// A figure of every model.
    public struct Row: Sendable, Hashable {
        /// What the figure is.
        public let kind: Figure.Kind
        /// The models' figures, a cell for each column.
        public let cells: [Cell]
    }

    /// The models.
    public let columns: [Column]
    /// The figures.
    public let rows: [Row]
    /// The gates of each model, in the order of the gates.
    public let gates: [GateOutcome]

    /// Whether every gate is passed.
    public var passes: Bool { gates.allSatisfy(\.passes) }

    /// Puts models side by side.
    ///
    /// - Throws: ``MoruError/Code/evaluationData`` when they were not evaluated on the same examples, or by the same
    ///   task; ``MoruError/Code/evaluationGate`` when a gate names no figure.
    public init(_ columns: [Column], gates: [Gate] = []) throws(MoruError) {
        guard let last = columns.last else {
            throw MoruError(.evaluationData, "there are no models to compare", remedy: "name at least one")
        }
        for column in columns.dropLast() { try Self.requireSameExamples(column, last) }
        self.columns = columns
        var kinds: [Figure.Kind] = []
        for column in columns.reversed() {
            for figure in column.report.figures where !kinds.contains(figure.kind) { kinds.append(figure.kind) }
        }
        rows = kinds.map { kind in
            let figures = columns.map { $0.report.figure(kind.name) }
            let cells = figures.enumerated().map { index, figure in
                let first = index > 0 ? figures[0] : nil
                return Cell(figure: figure, difference: first.flatMap { figure?.difference(from: $0) })
            }
            return Row(kind: kind, cells: cells)
        }
        var outcomes: [GateOutcome] = []
        for gate in gates {
            for (index, column) in columns.enumerated() where column.isGated {
                let first = index > 0 ? columns[0].report.figures : nil
                if let outcome = try gate.outcome(of: column.name, column.report.figures, first: first) {
                    outcomes.append(outcome)
                }
            }
        }
        self.gates = outcomes
    }

    private static func requireSameExamples(_ column: Column, _ last: Column) throws(MoruError) {
        guard type(of: column.report).task == type(of: last.report).task else {
            throw MoruError(
                .evaluationData,
                "\(column.name) was evaluated by \(type(of: column.report).task.rawValue), "
                    + "\(last.name) by \(type(of: last.report).task.rawValue)", remedy: "compare reports of one task")
        }
        let (earlier, later) = (column.report.cases, last.report.cases)
        let remedy = "make it anew with moru eval --save on the same data"
        guard earlier.count == later.count else {
            throw MoruError(
                .evaluationData, "\(column.name) is about \(earlier.count) examples, not \(later.count)",
                remedy: remedy)
        }
        for (index, (old, new)) in zip(earlier, later).enumerated() {
            guard old.question == new.question, old.reference == new.reference else {
                throw MoruError(
                    .evaluationData, "\(column.name) is about other examples: number \(index + 1) differs",
                    remedy: remedy)
            }
        }
    }

    /// The comparison as one object.
    ///
    /// - Parameter includingOutcomes: Whether to list every example.
    public func json(includingOutcomes: Bool = false) -> JSON {
        let models = columns.map { column -> JSON in
            let report = column.report.json(includingOutcomes: includingOutcomes)
            let members = report.object.map { Array($0.members) } ?? []
            return .object(JSONObject([("name", .string(column.name))] + members.map { ($0.key, $0.value) }))
        }
        let figures = rows.map { row -> JSON in
            [
                "name": .string(row.kind.name), "label": row.kind.label.map { .string($0) } ?? .null,
                "unit": .string(row.kind.unit.rawValue),
                "models": .array(
                    row.cells.map { cell in
                        [
                            "value": cell.figure?.value.map { .double($0) } ?? .null,
                            "interval": cell.figure?.interval?.json ?? .null,
                            "difference": cell.difference?.json ?? .null,
                        ]
                    }),
            ]
        }
        return [
            "models": .array(models), "figures": .array(figures), "gates": .array(gates.map(\.json)),
            "passed": .bool(passes),
        ]
    }
}

extension EvaluationComparison {
    /// One example and what each model made of it.
    public struct Example: Sendable, Hashable {
        /// Its place in the data, from 0.
        public let place: Int
        /// The question, and the right answer.
        public let question, reference: String
        /// What each model made of it, in the order of the columns.
        public let cases: [EvaluationCase]
    }

    /// Every example, in the order of the data.
    public var examples: [Example] {
        let all = columns.map(\.report.cases)
        return (all.last ?? []).indices.map { place in
            let cases = all.map { $0[place] }
            return Example(place: place, question: cases[0].question, reference: cases[0].reference, cases: cases)
        }
    }

    /// Some answers worth reading, spread over the data: where the last model is right and the first was not, then one
    /// where it is still wrong, if there is one.
    ///
    /// - Parameter count: The most to give.
    public func samples(_ count: Int) -> [Example] {
        let examples = examples
        guard count > 0 else { return [] }
        func isRight(_ example: Example, _ column: Int) -> Bool {
            example.cases[column].answer.trimmingWhitespace() == example.reference.trimmingWhitespace()
        }
        let last = columns.count - 1
        let gained = examples.filter { isRight($0, last) && !isRight($0, 0) }
        let wrong = examples.first { !isRight($0, last) }
        let wanted = min(gained.count, count - (wrong == nil ? 0 : 1))
        return (0..<wanted).map { gained[$0 * gained.count / wanted] } + (wrong.map { [$0] } ?? [])
    }

    /// The examples that go worst, the worst first: those that a model got wrong, by how bad the wrong answers are over
    /// all models. Where answers are not right or wrong, those with the highest loss.
    ///
    /// - Parameter count: The most to give.
    public func worst(_ count: Int) -> [Example] {
        let ranked = examples.compactMap { example -> (example: Example, badness: Double)? in
            let wrong = example.cases.filter { $0.isRight != true }
            guard !wrong.isEmpty else { return nil }
            // More wrong models, then worse wrong answers
            let mean = wrong.reduce(0) { $0 + ($1.badness.isFinite ? $1.badness : 0) } / Double(wrong.count)
            return (example, mean)
        }
        func isWorse(_ left: (example: Example, badness: Double), _ right: (example: Example, badness: Double)) -> Bool
        {
            let counts = [left, right].map { $0.example.cases.count { $0.isRight != true } }
            if counts[0] != counts[1] { return counts[0] > counts[1] }
            return left.badness == right.badness
                ? left.example.place < right.example.place : left.badness > right.badness
        }
        return ranked.sorted(by: isWorse).prefix(max(0, count)).map(\.example)
    }
}
