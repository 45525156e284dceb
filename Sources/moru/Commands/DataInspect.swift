import ArgumentParser
import MoruBase
import MoruModels
import MoruTraining

/// `moru data inspect`.
struct DataInspect: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect", abstract: "Count examples, lengths, duplicates, labels and languages.",
        discussion: """
            Lists unusable lines; the exit code is 2 if there are any.

            Examples:
              moru data inspect train.jsonl
              moru data inspect 'data/*.csv' --field text=review --json
              moru data inspect train.jsonl --tokenizer smollm2-135m-instruct \\
                --max-length 512
            """)

    @Argument(help: "Files, folders or patterns.", completion: .file())
    var paths: [String]
    @Option(help: ArgumentHelp("Count tokens with this model's tokenizer.", valueName: "model"))
    var tokenizer: String?
    @Option(
        name: .customLong("max-length"),
        help: "With --tokenizer: the maximum length of an example in tokens. Default: the model's context length.")
    var maxLength: Int?
    @Option(
        help: ArgumentHelp("Similarity of near-duplicates, from 0.3 to 1; 0 does not look for any.", valueName: "share")
    )
    var similarity = 0.8
    @Option(help: ArgumentHelp("How many duplicates of each kind to show.", valueName: "count"))
    var show = 5
    @OptionGroup var reading: DataOptions
    @OptionGroup var learning: LearnedOption
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if paths.isEmpty { throw ValidationError("Name at least one file or folder.") }
        if similarity != 0, !(0.3...1).contains(similarity) {
            throw ValidationError("--similarity must be 0, or from 0.3 to 1.")
        }
        if let maxLength, maxLength < 1 { throw ValidationError("--max-length must be at least 1.") }
        if maxLength != nil, tokenizer == nil { throw ValidationError("--max-length needs --tokenizer.") }
        if show < 0 { throw ValidationError("--show must be at least 0.") }
    }

    func run() throws {
        var inspector = DataInspector(paths.map(reading.source))
        inspector.similarity = similarity == 0 ? nil : similarity
        if let tokenizer {
            let model = try ModelArgument.load(tokenizer)
            var encoder = ExampleEncoder(model)
            encoder.learned = learning.learned
            inspector.encoder = encoder
            inspector.maxLength = maxLength ?? model.model.facts.contextLength
        }
        let line = ProgressLine("reading", unit: "examples")
        defer { line.finish() }
        let begin = ContinuousClock.now
        let inspection = try inspector.inspect { count in
            // Short work needs no progress
            if ContinuousClock.now - begin > .seconds(1) { line.update(count, of: nil) }
        }
        line.finish()
        Terminal.result(output.json ? inspection.json.text(pretty: true) : inspection.text(showing: show))
        if inspection.problemCount > 0 { throw ExitCode(MoruError.Kind.invalidInput.exitCode) }
    }
}

extension DataInspection {
    /// The report for people.
    fileprivate func text(showing limit: Int) -> String {
        [overview, lengths, problemList, labelTables, languageTable, duplicateList(limit), tokenTable]
            .filter { !$0.isEmpty }.joined(separator: "\n\n")
    }

    private var overview: String {
        var rows: [(String, String)] = [
            (
                "files",
                "\(files.count)"
                    + (skippedFiles.isEmpty ? "" : ", \(skippedFiles.count) passed over, as \(skippedFiles[0])")
            ),
            ("examples", "\(examples)"), ("shape", Self.list(shapes)),
        ]
        if !roles.isEmpty { rows.append(("messages", Self.list(roles))) }
        if !emptyFields.isEmpty { rows.append(("empty fields", Self.list(emptyFields))) }
        if let cut {
            let lost =
                cut.examples == 0
                ? "none"
                : "\(cut.examples) of \(examples), by \(cut.tokens) tokens"
                    + (cut.withoutTargets > 0 ? "; \(cut.withoutTargets) would have nothing left to learn" : "")
            rows.append(("over \(cut.limit) tokens", lost))
        }
        let width = rows.map(\.0.count).max() ?? 0
        return rows.map { $0.0 + String(repeating: " ", count: width - $0.0.count + 2) + $0.1 }.joined(separator: "\n")
    }

    private var lengths: String {
        var table = Table(
            ["length of an example", "min", "median", "95 %", "max", "sum"],
            [.left] + Array(repeating: .right, count: 5))
        for (name, values) in [("characters", characters), ("tokens", tokens), ("trained tokens", targets)] {
            guard let values else { continue }
            let figures = [values.minimum, values.median, values.p95, values.maximum, values.total]
            table.add([name] + figures.map(String.init))
        }
        return characters == nil ? "" : table.text
    }

    private var problemList: String {
        guard problemCount > 0 else { return "" }
        var lines = ["\(problemCount) \(problemCount == 1 ? "record" : "records") cannot be used:"]
        for problem in problems { lines.append("  " + problem.message + (problem.remedy.map { " (\($0))" } ?? "")) }
        if problemCount > problems.count { lines.append("  and \(problemCount - problems.count) more") }
        return lines.joined(separator: "\n")
    }

    private var labelTables: String {
        labels.map { label in
            var table = Table([label.name, "examples", "share"], [.left, .right, .right])
            for value in label.values.prefix(20) {
                table.add(value.name, "\(value.count)", Format.percent(Double(value.count) / Double(examples)))
            }
            let more = label.values.count > 20 ? "\nand \(label.values.count - 20) more" : ""
            return table.text + more
        }.joined(separator: "\n\n")
    }

    private var languageTable: String {
        guard !languages.isEmpty else { return "" }
        let parts = languages.map { language in
            let name = language.name == "unknown" ? "cannot be told" : Languages.name(of: language.name)
            return "\(name) \(Format.percent(Double(language.count) / Double(max(1, examples))))"
        }
        return "languages  " + parts.joined(separator: ", ")
    }

    private func duplicateList(_ limit: Int) -> String {
        let extra = duplicates.reduce(0) { $0 + $1.places.count - 1 }
        var lines = ["exact duplicates  " + (extra == 0 ? "none" : "\(extra) more than needed")]
        lines += Self.list(duplicates, limit)
        if !conflicts.isEmpty {
            lines.append("same question, different answers  \(conflicts.count)")
            lines += Self.list(conflicts, limit)
        }
        let differing = nearDuplicates.count(where: \.answersDiffer)
        let pairs = nearDuplicates.count == 1 ? "1 pair" : "\(nearDuplicates.count) pairs"
        lines.append(
            "near-duplicates  "
                + (nearDuplicates.isEmpty
                    ? "none" : pairs + (differing > 0 ? ", \(differing) with different answers" : "")))
        for pair in nearDuplicates.prefix(limit) {
            lines.append(
                "  \(Format.percent(pair.similarity)) alike" + (pair.answersDiffer ? ", different answers" : ""))
            lines += Self.list([pair], 1)
        }
        if nearDuplicates.count > limit, limit > 0 { lines.append("  and \(nearDuplicates.count - limit) more pairs") }
        return lines.joined(separator: "\n")
    }

    private static func list(_ groups: [Likeness], _ limit: Int) -> [String] {
        var lines: [String] = []
        for group in groups.prefix(limit) {
            for (place, text) in zip(group.places, group.texts).prefix(4) {
                lines.append("  \(place): \(text.count > 100 ? text.prefix(99) + "…" : text)")
            }
            if group.places.count > 4 { lines.append("  and \(group.places.count - 4) more") }
            lines.append("")
        }
        if groups.count > limit, limit > 0 { lines.append("  and \(groups.count - limit) more; --show lists them") }
        if lines.last == "" { lines.removeLast() }
        return lines
    }

    private var tokenTable: String {
        guard !commonTokens.isEmpty, let tokens else { return "" }
        var table = Table(["token", "count", "share"], [.left, .right, .right])
        for token in commonTokens {
            table.add(token.name, "\(token.count)", Format.percent(Double(token.count) / Double(tokens.total)))
        }
        return "\(distinctTokens) different tokens, the commonest:\n" + table.text
    }

    private static func list(_ counts: [Count]) -> String {
        counts.isEmpty ? "none" : counts.map { "\($0.name) \($0.count)" }.joined(separator: ", ")
    }

    /// The report for programs.
    fileprivate var json: JSON {
        func count(_ counts: [Count]) -> JSON { .object(JSONObject(counts.map { ($0.name, .int($0.count)) })) }
        func likeness(_ groups: [Likeness]) -> JSON {
            .array(
                groups.map { group in
                    [
                        "places": .array(group.places.map { .string($0.description) }),
                        "texts": .array(group.texts.map { .string($0) }), "similarity": .double(group.similarity),
                        "answers_differ": .bool(group.answersDiffer),
                    ]
                })
        }
        var object: JSONObject = JSONObject([
            ("files", .array(files.map { ["path": .string($0.path), "format": .string($0.format.rawValue)] })),
            ("skipped_files", .array(skippedFiles.map { .string($0) })), ("examples", .int(examples)),
            ("shapes", count(shapes)), ("messages", count(roles)), ("empty_fields", count(emptyFields)),
            ("problem_count", .int(problemCount)),
            (
                "problems",
                .array(
                    problems.map { ["message": .string($0.message), "remedy": $0.remedy.map { .string($0) } ?? .null] })
            ),
            ("characters", characters?.json ?? .null), ("tokens", tokens?.json ?? .null),
            ("tokens_learnt", targets?.json ?? .null),
        ])
        object["cut"] =
            cut.map {
                [
                    "max_length": .int($0.limit), "examples": .int($0.examples), "tokens": .int($0.tokens),
                    "without_targets": .int($0.withoutTargets),
                ]
            } ?? .null
        object["labels"] = .object(JSONObject(labels.map { ($0.name, count($0.values)) }))
        object["languages"] = count(languages)
        object["duplicates"] = likeness(duplicates)
        object["conflicts"] = likeness(conflicts)
        object["near_duplicates"] = likeness(nearDuplicates)
        object["distinct_tokens"] = .int(distinctTokens)
        object["common_tokens"] = count(commonTokens)
        return .object(object)
    }
}

extension DataInspection.Distribution {
    fileprivate var json: JSON {
        ["min": .int(minimum), "median": .int(median), "p95": .int(p95), "max": .int(maximum), "sum": .int(total)]
    }
}
