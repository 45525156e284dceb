import MoruBase
import MoruNN
import MoruTensor

/// A value of a recipe as it is written.
package enum RecipeValue: Sendable, Hashable {
    /// A scalar; plain when it stands without quotes, as numbers and booleans must.
    case scalar(String, isPlain: Bool)
    /// A list of scalars.
    case list([String])

    /// As YAML, and for messages.
    package var text: String {
        switch self {
        case .scalar(let text, let isPlain): isPlain ? text : Self.quoted(text)
        case .list(let items): "[" + items.map(Self.quoted).joined(separator: ", ") + "]"
        }
    }

    /// The scalars: one, or those of a list.
    package var items: [String] {
        switch self {
        case .scalar(let text, _): [text]
        case .list(let items): items
        }
    }

    /// A string as YAML: plain where nothing could mistake it for something else, else double-quoted as in JSON.
    private static func quoted(_ text: String) -> String {
        let reserved = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
        let isSimple = text.utf8.enumerated().allSatisfy { position, byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "/"): true
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "-"):
                position > 0
            default: false
            }
        }
        let isPlain = isSimple && !text.isEmpty && !reserved.contains(text.lowercased())
        return isPlain ? text : JSON.string(text).text()
    }
}

/// A key that a file of settings such as a recipe may have: where it is, what it takes, and how it reaches the typed
/// settings.
package struct SettingKey<Root: Sendable>: Sendable {
    /// The path from the root, joined by dots.
    package let path: String
    /// What a value must be, to end the sentence "it must be ...".
    package let expectation: String
    /// The values there are, where they are few.
    package var choices: [String] = []
    /// Whether the value is a path, relative to the recipe.
    package var isPath = false
    /// Whether a change of the value makes another run of it, which cannot resume this one.
    var decidesResult = true
    /// The value of a recipe; nil when it has none.
    package let get: @Sendable (Root) -> RecipeValue?
    /// Takes a value; false when it is not acceptable.
    package let set: @Sendable (inout Root, RecipeValue) -> Bool
    /// Removes the value, for keys that accept `null`; nil for all others.
    private(set) var clear: (@Sendable (inout Root) -> Void)?

    package init(
        path: String, expectation: String, choices: [String] = [], isPath: Bool = false, decidesResult: Bool = true,
        get: @escaping @Sendable (Root) -> RecipeValue?, set: @escaping @Sendable (inout Root, RecipeValue) -> Bool
    ) {
        (self.path, self.expectation, self.choices) = (path, expectation, choices)
        (self.isPath, self.decidesResult, self.get, self.set) = (isPath, decidesResult, get, set)
    }

    /// Whether the value is a model: a name, or a path where it looks like one.
    var namesModel: Bool { path == "model" || path == "distillation.teacher" }
    /// The last component of the path.
    var name: String { String(path.split(separator: ".").last ?? "") }
    /// The section that the key lies in; empty for the root.
    var section: String { path.contains(".") ? String(path.prefix { $0 != "." }) : "" }
}

/// A key of a tuning recipe.
typealias RecipeKey = SettingKey<Recipe>

extension SettingKey {
    /// Where a value lies in the typed recipe.
    package typealias Place<Value> = WritableKeyPath<Root, Value> & Sendable

    package static func integer(
        _ path: String, _ range: ClosedRange<Int>, get: @escaping @Sendable (Root) -> Int?,
        set: @escaping @Sendable (inout Root, Int) -> Void
    ) -> SettingKey {
        let bound =
            range.upperBound == .max
            ? "of at least \(range.lowerBound)" : "from \(range.lowerBound) to \(range.upperBound)"
        return SettingKey(
            path: path, expectation: "an integer \(bound)",
            get: { get($0).map { .scalar(String($0), isPlain: true) } },
            set: { recipe, value in
                guard case .scalar(let text, true) = value, let number = Int(text), range.contains(number) else {
                    return false
                }
                set(&recipe, number)
                return true
            })
    }

    package static func integer(_ path: String, _ range: ClosedRange<Int>, _ place: any Place<Int>) -> SettingKey {
        integer(path, range, get: { $0[keyPath: place] }, set: { $0[keyPath: place] = $1 })
    }

    package static func integer(_ path: String, _ range: ClosedRange<Int>, _ place: any Place<Int?>) -> SettingKey {
        integer(path, range, get: { $0[keyPath: place] }, set: { $0[keyPath: place] = $1 })
    }

    /// - Parameter isOpen: Whether the upper bound itself is left out.
    package static func number(
        _ path: String, _ range: ClosedRange<Float>, isOpen: Bool = false, isPositive: Bool = false,
        get: @escaping @Sendable (Root) -> Float?, set: @escaping @Sendable (inout Root, Float) -> Void
    ) -> SettingKey {
        let lower = isPositive ? "above \(brief(range.lowerBound))" : "of at least \(brief(range.lowerBound))"
        let upper =
            range.upperBound == .infinity
            ? "" : isOpen ? " and below \(brief(range.upperBound))" : " and at most \(brief(range.upperBound))"
        return SettingKey(
            path: path, expectation: "a number \(lower)\(upper)",
            get: { get($0).map { .scalar(brief($0), isPlain: true) } },
            set: { recipe, value in
                guard case .scalar(let text, true) = value, let number = Float(text), number.isFinite,
                    range.contains(number), !(isOpen && number == range.upperBound),
                    !(isPositive && number == range.lowerBound)
                else { return false }
                set(&recipe, number)
                return true
            })
    }

    package static func number(
        _ path: String, _ range: ClosedRange<Float>, isOpen: Bool = false, isPositive: Bool = false,
        _ place: any Place<Float>
    ) -> SettingKey {
        number(
            path, range, isOpen: isOpen, isPositive: isPositive, get: { $0[keyPath: place] },
            set: { $0[keyPath: place] = $1 })
    }

    /// - Parameter isOpen: Whether the upper bound itself is left out.
    package static func number(
        _ path: String, _ range: ClosedRange<Float>, isOpen: Bool = false, isPositive: Bool = false,
        _ place: any Place<Float?>
    ) -> SettingKey {
        number(
            path, range, isOpen: isOpen, isPositive: isPositive, get: { $0[keyPath: place] },
            set: { $0[keyPath: place] = $1 })
    }

    package static func flag(_ path: String, _ place: any Place<Bool>) -> SettingKey {
        SettingKey(
            path: path, expectation: "true or false", choices: ["true", "false"],
            get: { .scalar(String($0[keyPath: place]), isPlain: true) },
            set: { recipe, value in
                guard case .scalar(let text, true) = value, let flag = Bool(text) else { return false }
                recipe[keyPath: place] = flag
                return true
            })
    }

    package static func choice<Value: RawRepresentable & CaseIterable & Sendable>(
        _ path: String, _ place: any Place<Value>
    ) -> SettingKey where Value.RawValue == String {
        choice(path, place, among: Array(Value.allCases))
    }

    package static func choice<Value: RawRepresentable & Sendable>(
        _ path: String, _ place: any Place<Value>, among values: [Value]
    ) -> SettingKey where Value.RawValue == String {
        let names = values.map(\.rawValue)
        return SettingKey(
            path: path, expectation: names.count == 1 ? names[0] : "one of " + names.joined(separator: ", "),
            choices: names, get: { .scalar($0[keyPath: place].rawValue, isPlain: true) },
            set: { recipe, value in
                guard case .scalar(let text, _) = value, names.contains(text), let choice = Value(rawValue: text)
                else { return false }
                recipe[keyPath: place] = choice
                return true
            })
    }

    package static func choice<Value: RawRepresentable & Sendable>(
        _ path: String, _ place: any Place<Value?>, among values: [Value]
    ) -> SettingKey where Value.RawValue == String {
        let names = values.map(\.rawValue)
        return SettingKey(
            path: path, expectation: "one of " + names.joined(separator: ", "), choices: names,
            get: { $0[keyPath: place].map { .scalar($0.rawValue, isPlain: true) } },
            set: { recipe, value in
                guard case .scalar(let text, _) = value, names.contains(text), let choice = Value(rawValue: text)
                else { return false }
                recipe[keyPath: place] = choice
                return true
            })
    }

    package static func text(
        _ path: String, isPath: Bool = false, expectation: String? = nil, get: @escaping @Sendable (Root) -> String?,
        set: @escaping @Sendable (inout Root, String) -> Void
    ) -> SettingKey {
        SettingKey(
            path: path, expectation: expectation ?? (isPath ? "a path" : "a name"), isPath: isPath,
            get: { get($0).map { .scalar($0, isPlain: false) } },
            set: { recipe, value in
                guard case .scalar(let text, _) = value, !text.isEmpty else { return false }
                set(&recipe, text)
                return true
            })
    }

    package static func names(_ path: String, allowsEmpty: Bool, _ place: any Place<[String]>) -> SettingKey {
        SettingKey(
            path: path, expectation: allowsEmpty ? "a list of names" : "a list of at least one name",
            get: { .list($0[keyPath: place]) },
            set: { recipe, value in
                guard case .list(let items) = value, allowsEmpty || !items.isEmpty, !items.contains("") else {
                    return false
                }
                recipe[keyPath: place] = items
                return true
            })
    }

    /// The same key, which also accepts `null`.
    package func orNull(_ clear: @escaping @Sendable (inout Root) -> Void) -> SettingKey {
        var key = self
        key.clear = clear
        return key
    }

    /// The same key, whose value does not decide what a run learns.
    package func withoutEffect() -> SettingKey {
        var key = self
        key.decidesResult = false
        return key
    }

    /// A number without a superfluous `.0`.
    private static func brief(_ number: Float) -> String {
        let text = "\(number)"
        return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
    }
}
