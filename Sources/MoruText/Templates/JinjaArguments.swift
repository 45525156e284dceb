/// The arguments of a call.
struct JinjaArguments {
    var positional: [JinjaValue]
    var named: [(name: String, value: JinjaValue)] = []

    init(_ positional: [JinjaValue] = []) { self.positional = positional }

    /// The arguments in the order of a function's parameters; nil stands for one that was not given.
    ///
    /// - Parameters:
    ///   - function: The function's name, for messages.
    ///   - required: How many parameters have no default.
    func bind(_ function: String, _ names: String..., required: Int = 0) throws(JinjaError) -> [JinjaValue?] {
        guard positional.count <= names.count else {
            throw JinjaError("\(function) takes at most \(names.count) arguments, got \(positional.count)")
        }
        var values: [JinjaValue?] = positional
        values += [JinjaValue?](repeating: nil, count: names.count - positional.count)
        for (name, value) in named {
            guard let position = names.firstIndex(of: name) else {
                throw JinjaError("\(function) got an unexpected keyword argument '\(name)'")
            }
            guard values[position] == nil else {
                throw JinjaError("\(function) got multiple values for argument '\(name)'")
            }
            values[position] = value
        }
        if let position = values.prefix(required).firstIndex(where: { $0 == nil }) {
            throw JinjaError("\(function) misses its argument '\(names[position])'")
        }
        return values
    }
}

extension JinjaValue? {
    /// The text of an argument, or its default.
    func text(_ fallback: String) throws(JinjaError) -> String {
        guard case .some(let value) = self else { return fallback }
        guard let text = value.string else { throw JinjaError("expected a string, got '\(value.typeName)'") }
        return text
    }

    /// The integer of an argument, or its default.
    func integer(_ fallback: Int) throws(JinjaError) -> Int {
        guard case .some(let value) = self else { return fallback }
        if case .undefined(let undefined) = value { throw JinjaError(undefined.message) }
        guard let number = value.index else { throw JinjaError("expected an integer, got '\(value.typeName)'") }
        return number
    }

    /// The truth of an argument, or its default.
    func flag(_ fallback: Bool) -> Bool {
        guard case .some(let value) = self else { return fallback }
        return value.isTrue
    }
}
