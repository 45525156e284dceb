/// The tests: what may follow `is`.
enum JinjaTests {
    /// The names, for `is test` and for messages.
    static let names: Set<String> = [
        "odd", "even", "divisibleby", "defined", "undefined", "filter", "test", "none", "boolean", "false", "true",
        "integer", "float", "lower", "upper", "string", "mapping", "number", "sequence", "iterable", "callable",
        "sameas", "escaped", "in", "==", "eq", "equalto", "!=", "ne", ">", "gt", "greaterthan", "ge", ">=", "<", "lt",
        "lessthan", "<=", "le",
    ]

    static let comparisons: [String: JinjaComparison] = [
        "==": .equal, "eq": .equal, "equalto": .equal, "!=": .notEqual, "ne": .notEqual, ">": .greater,
        "gt": .greater, "greaterthan": .greater, ">=": .greaterOrEqual, "ge": .greaterOrEqual, "<": .less,
        "lt": .less, "lessthan": .less, "<=": .lessOrEqual, "le": .lessOrEqual, "in": .contained,
    ]
}

extension JinjaInterpreter {
    /// Whether `value is name(arguments)`.
    func applyTest(_ name: String, to value: JinjaValue, _ arguments: JinjaArguments) throws(JinjaError) -> Bool {
        if let comparison = JinjaTests.comparisons[name] {
            let bound = try arguments.bind("the test '\(name)'", "other", required: 1)
            try budget.traverse(value)
            try budget.traverse(bound[0] ?? .null)
            return try value.compare(comparison, bound[0] ?? .null)
        }
        switch name {
        case "divisibleby":
            let bound = try arguments.bind("divisibleby", "num", required: 1)
            return try calculate(value, .modulo, bound[0] ?? .null).isEqual(to: .int(0))
        case "sameas":
            let bound = try arguments.bind("sameas", "other", required: 1)
            let other = bound[0] ?? .null
            try budget.traverse(value)
            return value.typeName == other.typeName && value.isEqual(to: other)
        default: break
        }
        _ = try arguments.bind("the test '\(name)'")
        switch name {
        case "odd": return try calculate(value, .modulo, .int(2)).isEqual(to: .int(1))
        case "even": return try calculate(value, .modulo, .int(2)).isEqual(to: .int(0))
        case "defined": return !value.isUndefined
        case "undefined": return value.isUndefined
        case "filter": return value.string.map { JinjaFilters.names.contains($0) } ?? false
        case "test": return value.string.map { JinjaTests.names.contains($0) } ?? false
        case "lower": return try text(of: value).pythonHolds("islower")
        case "upper": return try text(of: value).pythonHolds("isupper")
        case "escaped": return false
        default: return try isOfType(name, value)
        }
    }

    private func isOfType(_ name: String, _ value: JinjaValue) throws(JinjaError) -> Bool {
        switch (name, value) {
        case ("none", .null): return true
        case ("boolean", .bool): return true
        case ("true", .bool(let flag)): return flag
        case ("false", .bool(let flag)): return !flag
        case ("integer", .int): return true
        case ("float", .double): return true
        case ("number", _): return value.number != nil
        case ("string", .string): return true
        case ("mapping", .dict): return true
        case ("sequence", .undefined), ("sequence", .string), ("sequence", .list), ("sequence", .tuple),
            ("sequence", .dict), ("sequence", .range):
            return true
        case ("iterable", .loop): return true
        case ("iterable", _): return value.isIterable
        case ("callable", .undefined), ("callable", .function), ("callable", .method), ("callable", .macro),
            ("callable", .joiner), ("callable", .loop):
            return true
        default:
            guard JinjaTests.names.contains(name) else { throw unknown("test", name, among: JinjaTests.names) }
            return false
        }
    }
}
