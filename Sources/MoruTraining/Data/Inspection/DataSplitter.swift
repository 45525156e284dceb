import Foundation
import MoruBase

/// Splits data into a part to train on and a part to validate on, so that what is nearly the same is on one side.
public struct DataSplitter {
    /// What is split.
    public let source: DataSource
    /// The validation part's share of the examples, between 0 and 1.
    public var share = 0.1
    /// Decides which examples go where.
    public var seed: UInt64 = 0
    /// Fields or labels whose values get the same share each; a label is a line `name: value` of the answer.
    public var stratifiedBy: [String] = []
    /// A field whose equal values stay on one side, such as a customer or a document; nil for none.
    public var groupField: String?
    /// How alike two examples must be to stay on one side; nil takes no account of it.
    public var similarity: Double? = 0.8

    /// What a split came to.
    public struct Report: Sendable, Hashable {
        /// A combination of stratified values.
        public struct Stratum: Sendable, Hashable {
            /// The values.
            public let name: String
            /// Its examples to train on.
            public var training = 0
            /// Its examples to validate on.
            public var validation = 0
        }

        /// The examples to train on.
        public var training = 0
        /// The examples to validate on.
        public var validation = 0
        /// Groups of several examples that stay on one side.
        public var groups = 0
        /// The examples in them.
        public var groupedExamples = 0
        /// The examples by stratum, where there are any.
        public var strata: [Stratum] = []
    }

    /// Makes a splitter.
    public init(_ source: DataSource) { self.source = source }

    /// Splits the data and writes both parts as JSONL, in the order of the data; lines of JSONL are kept as they are.
    ///
    /// - Parameters:
    ///   - overwriting: Whether files that are there are replaced.
    /// - Throws: ``MoruError/Code/dataMalformed`` and what reading throws, ``MoruError/Code/dataEmpty``,
    ///   ``MoruError/Code/fileExists``, or what the file system throws. Nothing is written then.
    public func split(training: String, validation: String, overwriting: Bool = false) throws -> Report {
        try requireOutputs([training, validation], overwriting)
        let examples = try read()
        let units = units(examples)
        let isValidation = try choose(units, examples)
        var report = self.report(units, examples, isValidation)
        (report.training, report.validation) = (isValidation.count { !$0 }, isValidation.count { $0 })
        let lines = try SourceLines(examples.map(\.place), source)
        let hadValidation = FileSystem.exists(validation)
        try write(lines, to: validation) { isValidation[$0] }
        do {
            try write(lines, to: training) { !isValidation[$0] }
        } catch {
            if !hadValidation { FileSystem.remove(validation) }
            throw error
        }
        return report
    }

    /// What is known of an example.
    private struct Example {
        let place: DataPlace
        let question: String
        let stratum: String
        let group: String?
    }

    private func read() throws(MoruError) -> [Example] {
        var reader = try ExampleReader(source)
        var examples: [Example] = []
        while let entry = try reader.next() {
            let text = ExampleText(entry.example)
            var values: [String] = []
            for name in stratifiedBy {
                guard let value = Self.value(name, entry.record, text.answer) else {
                    throw MoruError(
                        .dataMalformed, "\(entry.place): there is no \(name) to stratify by",
                        remedy: "name a field, or a label that answers give as \"name: value\"")
                }
                values.append(value)
            }
            var group: String?
            if let groupField {
                guard let value = entry.record[groupField] else {
                    throw MoruError(
                        .dataMalformed, "\(entry.place): there is no \(groupField) to group by",
                        remedy: "give every record the field, or group by another")
                }
                group = value.text(sortedKeys: true)
            }
            examples.append(
                Example(
                    place: entry.place, question: text.question, stratum: values.joined(separator: ", "), group: group))
        }
        guard examples.count > 1 else {
            throw MoruError(
                .dataEmpty, "\(source.path) has \(examples.count == 1 ? "one example" : "no examples")",
                remedy: "a split needs at least two")
        }
        return examples
    }

    /// The value of a field, or of a label in an answer.
    private static func value(_ name: String, _ record: JSON, _ answer: String) -> String? {
        if let value = record[name] { return value.string ?? value.text(sortedKeys: true) }
        for line in answer.split(whereSeparator: \.isNewline) {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2, parts[0] == name else { continue }
            return parts[1].trimmingCharacters(in: .whitespaces)
        }
        return nil
    }

    /// The numbers of examples that stay together.
    private func units(_ examples: [Example]) -> [[Int]] {
        var sets = DisjointSets(examples.count)
        func join(_ keys: [String?]) {
            var first: [String: Int] = [:]
            for (number, key) in keys.enumerated() {
                guard let key else { continue }
                if let other = first[key] { sets.join(other, number) } else { first[key] = number }
            }
        }
        join(examples.map(\.group))
        if let similarity {
            join(examples.map(\.question))
            let near = NearDuplicates(examples.map(\.question), threshold: similarity)
            for pair in near.pairs { sets.join(pair.first, pair.second) }
        }
        let units = Dictionary(grouping: examples.indices) { sets.root(of: $0) }
        return units.values.sorted { $0[0] < $1[0] }
    }

    /// Whether each example is for validation.
    ///
    /// Units are taken in an order that the seed decides, each where that brings the strata nearer to their share.
    private func choose(_ units: [[Int]], _ examples: [Example]) throws(MoruError) -> [Bool] {
        var missing = portions(examples)
        var isValidation = Array(repeating: false, count: examples.count)
        let order = IndexPermutation(count: units.count, seed: seed)
        for place in units.indices {
            let unit = units[order[place]]
            var sizes: [String: Int] = [:]
            for number in unit { sizes[examples[number].stratum, default: 0] += 1 }
            let gain = sizes.reduce(0) { sum, stratum in
                let missing = missing[stratum.key] ?? 0
                return sum + abs(missing) - abs(missing - stratum.value)
            }
            guard gain > 0 else { continue }
            for (stratum, size) in sizes { missing[stratum]? -= size }
            for number in unit { isValidation[number] = true }
        }
        guard isValidation.contains(true), isValidation.contains(false) else {
            throw MoruError(
                .dataEmpty,
                "a share of \(share) of \(examples.count) examples in \(units.count) groups leaves one part empty",
                remedy: "choose a larger or smaller share, or allow near-duplicates on both sides")
        }
        return isValidation
    }

    /// How many examples of each stratum validation should get: the share of all, spread by largest remainders.
    private func portions(_ examples: [Example]) -> [String: Int] {
        let sizes = Dictionary(grouping: examples, by: \.stratum).mapValues { share * Double($0.count) }
        var portions = sizes.mapValues { Int($0) }
        let total = max(1, Int((share * Double(examples.count)).rounded()))
        let byRemainder = sizes.sorted {
            ($1.value - $1.value.rounded(.down), $0.key) < ($0.value - $0.value.rounded(.down), $1.key)
        }
        let missing = total - portions.values.reduce(0, +)
        for (stratum, _) in byRemainder.prefix(max(0, missing)) { portions[stratum, default: 0] += 1 }
        return portions
    }

    private func report(_ units: [[Int]], _ examples: [Example], _ isValidation: [Bool]) -> Report {
        var report = Report()
        let groups = units.filter { $0.count > 1 }
        (report.groups, report.groupedExamples) = (groups.count, groups.reduce(0) { $0 + $1.count })
        guard !stratifiedBy.isEmpty else { return report }
        let strata = Dictionary(grouping: examples.indices) { examples[$0].stratum }
        report.strata = strata.sorted { $0.key < $1.key }.map { name, numbers in
            let validation = numbers.count { isValidation[$0] }
            return Report.Stratum(name: name, training: numbers.count - validation, validation: validation)
        }
        return report
    }

    // MARK: Writing

    private func requireOutputs(_ paths: [String], _ overwriting: Bool) throws(MoruError) {
        let inputs = try DataFiles(source).files.map { Self.canonical($0.path) }
        for path in paths {
            if FileSystem.isDirectory(path) {
                throw MoruError(.fileUnwritable, "\(path) is a directory", remedy: "name a file in it")
            }
            guard !inputs.contains(Self.canonical(path)) else {
                throw MoruError(.fileExists, "\(path) is what is split", remedy: "write the part to another file")
            }
            guard overwriting || !FileSystem.exists(path) else {
                throw MoruError(.fileExists, "\(path) already exists", remedy: "choose another name, or overwrite it")
            }
        }
        guard Self.canonical(paths[0]) != Self.canonical(paths[1]) else {
            throw MoruError(.fileExists, "\(paths[0]) is to hold both parts", remedy: "name two files")
        }
    }

    private static func canonical(_ path: String) -> String {
        URL(fileURLWithPath: path).resolvingSymlinksInPath().standardizedFileURL.path
    }

    private func write(_ lines: SourceLines, to path: String, _ isChosen: (Int) -> Bool) throws {
        try FileSystem.writeAtomically(to: path) { writer in
            try lines.read { number, line in
                if isChosen(number) { try writer.write(line + [UInt8(ascii: "\n")]) }
            }
        }
    }
}

/// The records of a source once more, as lines of JSONL.
private struct SourceLines {
    private let places: [DataPlace]
    private let source: DataSource
    private let isJSONL: Bool

    init(_ places: [DataPlace], _ source: DataSource) throws(MoruError) {
        self.places = places
        self.source = source
        isJSONL = try DataFiles(source).files.allSatisfy { $0.format == .jsonl }
    }

    /// Hands over each record's number and line, in order.
    func read(_ body: (Int, [UInt8]) throws -> Void) throws {
        guard isJSONL else {
            var reader = try SourceReader(source)
            for number in places.indices {
                guard let record = try reader.next(), record.place == places[number] else { throw changed }
                try body(number, Array(record.value.text().utf8))
            }
            return
        }
        // As they stand, so that no number or escape is written another way
        var number = 0
        for file in try DataFiles(source).files {
            let mapped = try MappedFile(path: file.path)
            var (line, begin) = (1, mapped.bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0)
            while begin < mapped.bytes.count {
                let rest = mapped.bytes[begin...]
                let end = rest.firstIndex(of: UInt8(ascii: "\n")) ?? mapped.bytes.count
                if number < places.count, places[number] == DataPlace(path: file.path, line: line) {
                    var bytes = Array(mapped.bytes[begin..<end])
                    if bytes.last == UInt8(ascii: "\r") { bytes.removeLast() }
                    try body(number, bytes)
                    number += 1
                }
                (line, begin) = (line + 1, end + 1)
            }
        }
        guard number == places.count else { throw changed }
    }

    private var changed: MoruError {
        MoruError(.dataMalformed, "\(source.path) changed while it was read", remedy: "run it again")
    }
}
