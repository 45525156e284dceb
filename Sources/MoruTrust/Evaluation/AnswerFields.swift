import MoruBase

/// The labels that a short answer gives, by name.
///
/// Three forms are understood: a JSON object (`{"sentiment": "positive"}`), lines of `name: value`, and a bare label,
/// whose name is then `label`.
public struct AnswerFields: Sendable, Hashable {
    /// The name of a bare label.
    public static let bareName = "label"
    /// The most characters that a value may have and still count as a label.
    static let maximumLabelLength = 40

    /// Names and values in the order of the answer; values are trimmed.
    public let fields: [(name: String, value: String)]
    /// Whether the answer is a label alone, without a name.
    public let isBare: Bool

    /// Reads an answer; nil when it is none of the forms.
    public init?(_ answer: String) {
        let text = answer.trimmingWhitespace()
        if let object = try? JSON.parse(text, source: "answer").object {
            let fields = object.members.compactMap { member in
                Self.scalar(member.value).map { (name: member.key, value: $0) }
            }
            guard fields.count == object.count, !fields.isEmpty else { return nil }
            (self.fields, isBare) = (fields, false)
            return
        }
        let lines = text.split(whereSeparator: \.isNewline).map { String($0).trimmingWhitespace() }
            .filter { !$0.isEmpty }
        let pairs = lines.compactMap { line -> (name: String, value: String)? in
            guard let colon = line.firstIndex(of: ":") else { return nil }
            let name = String(line[..<colon]).trimmingWhitespace()
            let value = String(line[line.index(after: colon)...]).trimmingWhitespace()
            return name.isEmpty || value.isEmpty || name.contains(" ") ? nil : (name, value)
        }
        if !pairs.isEmpty, pairs.count == lines.count {
            (fields, isBare) = (pairs, false)
        } else if lines.count == 1, text.count <= Self.maximumLabelLength {
            (fields, isBare) = ([(Self.bareName, text)], true)
        } else {
            return nil
        }
    }

    /// The value of a name, in any case.
    public func value(of name: String) -> String? {
        fields.first { $0.name.lowercased() == name.lowercased() }?.value
    }

    private static func scalar(_ value: JSON) -> String? {
        switch value {
        case .string(let text): text.trimmingWhitespace()
        case .int(let number): String(number)
        case .double(let number): "\(number)"
        case .bool(let flag): String(flag)
        default: nil
        }
    }

    /// Fields are equal when names and values are, in order.
    public static func == (left: AnswerFields, right: AnswerFields) -> Bool {
        left.fields.elementsEqual(right.fields) { $0 == $1 }
    }
    /// Hashes names and values.
    public func hash(into hasher: inout Hasher) {
        for (name, value) in fields {
            hasher.combine(name)
            hasher.combine(value)
        }
    }
}
