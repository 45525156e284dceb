/// The names of methods that values have.
enum JinjaMethods {
    private static let text: Set<String> = [
        "capitalize", "casefold", "center", "count", "endswith", "expandtabs", "find", "format", "format_map", "index",
        "isalnum", "isalpha", "isascii", "isdecimal", "isdigit", "islower", "isnumeric", "isspace", "istitle",
        "isupper", "join", "ljust", "lower", "lstrip", "partition", "removeprefix", "removesuffix", "replace", "rfind",
        "rindex", "rjust", "rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith", "strip", "swapcase",
        "title", "upper", "zfill",
    ]
    private static let sequence: Set<String> = ["count", "index"]
    private static let list: Set<String> = ["count", "index", "copy"]
    private static let dict: Set<String> = ["copy", "get", "items", "keys", "values"]
    private static let loop: Set<String> = ["cycle", "changed"]
    private static let cycler: Set<String> = ["next", "reset"]
    private static let double: Set<String> = ["is_integer"]
    private static let changingList: Set<String> = [
        "append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove",
    ]
    private static let changingDict: Set<String> = ["clear", "pop", "popitem", "setdefault", "update"]

    /// The methods of a value.
    static func names(_ value: JinjaValue) -> Set<String> {
        switch value {
        case .string: text
        case .list: list
        case .tuple, .range: sequence
        case .dict: dict
        case .loop: loop
        case .cycler: cycler
        case .double: double
        default: []
        }
    }

    /// The methods that would change a value, which templates may not call.
    static func changing(_ value: JinjaValue) -> Set<String> {
        switch value {
        case .list: changingList
        case .dict: changingDict
        default: []
        }
    }
}

extension JinjaInterpreter {
    func call(_ method: JinjaMethod, _ arguments: JinjaArguments) throws(JinjaError) -> JinjaValue {
        if case .dict = method.receiver {} else { try budget.traverse(method.receiver) }
        switch method.receiver {
        case .string(let text): return try callText(text, method.name, arguments)
        case .list(let items):
            if method.name == "copy" { return method.receiver }
            return try callSequence(items.items, method.name, arguments)
        case .tuple(let items): return try callSequence(items.items, method.name, arguments)
        case .range(let range): return try callSequence(range.items, method.name, arguments)
        case .dict(let dict): return try callDict(dict, method.name, arguments)
        case .double(let value): return .bool(value.isFinite && value == value.rounded())
        case .cycler(let cycler):
            if method.name == "next" { return cycler.next() }
            cycler.position = 0
            return .null
        case .loop(let loop):
            if method.name == "changed" {
                defer { loop.lastChanged = arguments.positional }
                return .bool(loop.lastChanged.map { !JinjaValue.areEqual($0, arguments.positional) } ?? true)
            }
            guard !arguments.positional.isEmpty else { throw JinjaError("no items for cycling given") }
            return arguments.positional[loop.index0 % arguments.positional.count]
        default: throw JinjaError("'\(method.receiver.typeName)' has no method '\(method.name)'")
        }
    }

    private func callSequence(
        _ items: [JinjaValue], _ name: String, _ arguments: JinjaArguments
    ) throws(JinjaError) -> JinjaValue {
        let bound = try arguments.bind("\(name)()", "value", "start", "stop", required: 1)
        guard let wanted = bound[0] else { return .null }
        if name == "count" { return .int(items.filter { $0.isEqual(to: wanted) }.count) }
        let window = try JinjaSlice(start: bound[1], stop: bound[2], step: nil, count: items.count)
        for position in window.start..<(window.start + window.count) where items[position].isEqual(to: wanted) {
            return .int(position)
        }
        throw JinjaError("\(try repr(of: wanted)) is not in list")
    }

    private func callDict(
        _ dict: JinjaDict, _ name: String, _ arguments: JinjaArguments
    ) throws(JinjaError) -> JinjaValue {
        guard name == "get" else {
            _ = try arguments.bind("\(name)()")
            return callPlainDict(dict, name)
        }
        let bound = try arguments.bind("get()", "key", "default", required: 1)
        return try dict.get(bound[0] ?? .null) ?? bound[1] ?? .null
    }

    private func callPlainDict(_ dict: JinjaDict, _ name: String) -> JinjaValue {
        switch name {
        case "keys": return .view(JinjaDictView(dict, .keys))
        case "values": return .view(JinjaDictView(dict, .values))
        case "items": return .view(JinjaDictView(dict, .items))
        default: return .dict(dict)
        }
    }
}
