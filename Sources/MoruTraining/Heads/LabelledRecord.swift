import MoruBase
import MoruModels

/// What a record of labelled data says, before any model has seen it.
package enum LabelledRecord: Sendable {
    /// A text, and what it is.
    case text(String, Answer)
    /// A text, and what is found in it.
    case spans(String, [TextSpan])
    /// Words, and the tag of each.
    case words([String], tags: [String])
    /// A text, one that belongs to it, and some that do not.
    case texts(String, positive: String, negatives: [String])
    /// Two texts, and how near they are.
    case pair(String, String, score: Float)

    /// What a text is.
    package enum Answer: Sendable, Hashable {
        case label(String)
        case labels([String])
        case value(Float)
    }
}

/// Reads records of labelled data.
package struct LabelledRecordParser: Sendable {
    /// What is learnt.
    let objective: Recipe.Objective
    /// What fields are called, by their usual names.
    var fields: [String: String] = [:]

    /// Makes a parser.
    package init(objective: Recipe.Objective, fields: [String: String] = [:]) {
        (self.objective, self.fields) = (objective, fields)
    }

    /// Reads a record.
    ///
    /// - Throws: ``MoruError/Code/dataMalformed``.
    package func parse(_ json: JSON, place: String) throws(MoruError) -> LabelledRecord {
        switch objective {
        case .classification:
            if value(json, "labels") != nil {
                return .text(try text(json, "text", place), .labels(try strings(json, "labels", place)))
            }
            return .text(try text(json, "text", place), .label(try label(json, place)))
        case .regression: return .text(try text(json, "text", place), .value(try number(json, "value", place)))
        case .extraction:
            if value(json, "tokens") != nil { return try words(json, place) }
            return .spans(try text(json, "text", place), try spans(json, place))
        case .embedding:
            if value(json, "score") != nil {
                return .pair(
                    try text(json, "text_a", place), try text(json, "text_b", place), score: try score(json, place))
            }
            return .texts(
                try text(json, "anchor", place), positive: try text(json, "positive", place),
                negatives: try negatives(json, place))
        case .sft, .dpo, .distillation: preconditionFailure("\(objective.rawValue) learns of no labels")
        }
    }

    private func score(_ json: JSON, _ place: String) throws(MoruError) -> Float {
        let score = try number(json, "score", place)
        guard -1...1 ~= score else {
            throw malformed(
                place, "\(field("score")) is \(score)",
                "it must be a cosine, from -1 to 1: divide ratings by the highest there is")
        }
        return score
    }

    /// One text, a list of them, or none.
    private func negatives(_ json: JSON, _ place: String) throws(MoruError) -> [String] {
        switch value(json, "negative") {
        case nil, .null?: []
        case .array?: try strings(json, "negative", place)
        default: [try text(json, "negative", place)]
        }
    }

    private func words(_ json: JSON, _ place: String) throws(MoruError) -> LabelledRecord {
        let (words, tags) = (try strings(json, "tokens", place), try strings(json, "tags", place))
        guard words.count == tags.count, !words.isEmpty else {
            throw malformed(place, "\(words.count) tokens and \(tags.count) tags", "give each token a tag")
        }
        return .words(words, tags: tags)
    }

    private func spans(_ json: JSON, _ place: String) throws(MoruError) -> [TextSpan] {
        let name = field("entities")
        guard let list = value(json, "entities")?.array else {
            throw malformed(
                place, "\(name) is \(value(json, "entities")?.kindName ?? "missing")",
                "it must be a list of {\"start\": ..., \"end\": ..., \"label\": ...}, empty if there is nothing to find"
            )
        }
        let length = value(json, "text")?.string?.unicodeScalars.count ?? 0
        var spans: [TextSpan] = []
        for (index, item) in list.enumerated() {
            guard let start = item["start"]?.int, let end = item["end"]?.int, let label = item["label"]?.string,
                !label.isEmpty
            else {
                throw malformed(
                    place, "\(name)[\(index)] is \(item.text())", "give it the numbers start and end, and a label")
            }
            guard 0 <= start, start < end, end <= length else {
                throw malformed(
                    place, "\(name)[\(index)] goes from \(start) to \(end), the text has \(length) characters",
                    "count characters as Python does, from 0 to before end")
            }
            spans.append(TextSpan(start..<end, label))
        }
        let sorted = spans.sorted { $0.range.lowerBound < $1.range.lowerBound }
        for (first, second) in zip(sorted, sorted.dropFirst()) where first.range.overlaps(second.range) {
            throw malformed(
                place,
                "\(first.label) at \(first.range.lowerBound) and \(second.label) at \(second.range.lowerBound) "
                    + "overlap",
                "keep one of them: each character has one label")
        }
        return sorted
    }

    // MARK: Fields

    private func field(_ name: String) -> String { fields[name] ?? name }
    private func value(_ json: JSON, _ name: String) -> JSON? { json.object?[field(name)] }

    private func malformed(_ place: String, _ message: String, _ remedy: String) -> MoruError {
        MoruError(.dataMalformed, "\(place): \(message)", remedy: remedy)
    }

    private func text(_ json: JSON, _ name: String, _ place: String) throws(MoruError) -> String {
        guard let text = value(json, name)?.string, !text.isEmpty else {
            let found = value(json, name)?.kindName ?? "missing"
            let keys = (json.object?.keys ?? []).prefix(8).joined(separator: ", ")
            throw malformed(
                place, "\(field(name)) is \(found == "a string" ? "empty" : found)",
                "\(objective.rawValue) needs it as a text; the record has the fields \(keys)")
        }
        return text
    }

    private func label(_ json: JSON, _ place: String) throws(MoruError) -> String {
        switch value(json, "label") {
        case .string(let text)? where !text.isEmpty: return text
        case .int(let number)?: return String(number)
        case .bool(let flag)?: return String(flag)
        case let other:
            throw malformed(
                place, "\(field("label")) is \(other?.kindName ?? "missing")",
                "it must be a string, an integer or a boolean; several go into labels, as a list")
        }
    }

    private func number(_ json: JSON, _ name: String, _ place: String) throws(MoruError) -> Float {
        // CSV has nothing but strings
        let number = value(json, name)?.double ?? value(json, name)?.string.flatMap { Double($0) }
        guard let number, Float(number).isFinite else {
            throw malformed(place, "\(field(name)) is \(value(json, name)?.text() ?? "missing")", "it must be a number")
        }
        return Float(number)
    }

    private func strings(_ json: JSON, _ name: String, _ place: String) throws(MoruError) -> [String] {
        guard let list = value(json, name)?.array else {
            throw malformed(place, "\(field(name)) is \(value(json, name)?.kindName ?? "missing")", "it must be a list")
        }
        let texts = list.compactMap(\.string)
        guard texts.count == list.count, !texts.contains("") else {
            throw malformed(place, "\(field(name)) holds something else than strings", "it must be a list of strings")
        }
        return texts
    }
}
