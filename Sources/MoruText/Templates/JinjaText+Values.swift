extension JinjaValue {
    /// Python's `str` of a value, which is what `{{ }}` prints.
    func text() throws(JinjaError) -> String {
        switch self {
        case .undefined: return ""
        case .string(let value): return value
        default: return try repr()
        }
    }

    /// Python's `repr` of a value.
    func repr(depth: Int = 0) throws(JinjaError) -> String {
        switch self {
        case .undefined: return "Undefined"
        case .null: return "None"
        case .bool(let value): return value ? "True" : "False"
        case .int(let value): return String(value)
        case .double(let value): return value.pythonRepr
        case .string(let value): return value.pythonRepr
        case .list(let items): return "[" + (try Self.reprs(items.items, depth)) + "]"
        case .tuple(let items):
            return "(" + (try Self.reprs(items.items, depth)) + (items.items.count == 1 ? ",)" : ")")
        case .dict(let dict): return try Self.repr(dict.keys, dict.values, depth)
        case .view(let view): return "\(typeName)([" + (try Self.reprs(view.items, depth)) + "])"
        case .range(let range):
            return "range(\(range.start), \(range.stop)" + (range.step == 1 ? ")" : ", \(range.step))")
        // Only a namespace can come to hold itself, or the same thing over and over, so its depths stay unprinted.
        case .namespace where depth > 0: return "<Namespace>"
        case .namespace(let namespace):
            let names = namespace.attributes.map { JinjaValue.string($0.name) }
            return "<Namespace \(try Self.repr(names, namespace.attributes.map(\.value), depth))>"
        case .macro(let macro): return "<Macro \(macro.syntax.name.pythonRepr)>"
        case .loop(let loop): return "<LoopContext \(loop.index0 + 1)/\(loop.items.count)>"
        case .function(let function): return "<function \(function.rawValue)>"
        case .method(let method): return "<built-in method \(method.name) of \(method.receiver.typeName) object>"
        case .iterator, .cycler, .joiner: return "<\(typeName) object>"
        }
    }

    private static func reprs(_ items: [JinjaValue], _ depth: Int) throws(JinjaError) -> String {
        var text = ""
        for (position, item) in items.enumerated() {
            if position > 0 { text += ", " }
            text += try item.repr(depth: depth + 1)
        }
        return text
    }

    private static func repr(
        _ keys: [JinjaValue], _ values: [JinjaValue], _ depth: Int
    ) throws(JinjaError) -> String {
        var text = "{"
        for position in keys.indices {
            if position > 0 { text += ", " }
            text += try keys[position].repr(depth: depth + 1) + ": "
            text += try values[position].repr(depth: depth + 1)
        }
        return text + "}"
    }
}
