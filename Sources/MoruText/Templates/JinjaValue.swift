import MoruBase

/// A value while a template is rendered, with Python's types and their meaning.
///
/// Lists, tuples and dictionaries cannot change once made, as in jinja2's immutable sandbox; only a namespace can.
enum JinjaValue {
    case undefined(JinjaUndefined)
    case null
    case bool(Bool)
    case int(Int)
    case double(Double)
    case string(String)
    case list(JinjaSequence)
    case tuple(JinjaSequence)
    case dict(JinjaDict)
    case view(JinjaDictView)
    case range(JinjaRange)
    case iterator(JinjaIterator)
    case namespace(JinjaNamespace)
    case macro(JinjaMacro)
    case function(JinjaFunction)
    case method(JinjaMethod)
    case loop(JinjaLoop)
    case cycler(JinjaCycler)
    case joiner(JinjaJoiner)
}

extension JinjaValue {
    init(_ json: JSON) throws(JinjaError) {
        switch json {
        case .null: self = .null
        case .bool(let value): self = .bool(value)
        case .int(let value): self = .int(value)
        case .double(let value): self = .double(value)
        case .string(let value): self = .string(value)
        case .array(let elements):
            var items: [JinjaValue] = []
            items.reserveCapacity(elements.count)
            for element in elements { items.append(try JinjaValue(element)) }
            self = .list(try JinjaSequence(items))
        case .object(let object):
            let dict = JinjaDict()
            for (key, value) in object.members { try dict.set(.string(key), try JinjaValue(value)) }
            self = .dict(dict)
        }
    }

    static func makeList(_ items: [JinjaValue]) throws(JinjaError) -> JinjaValue { .list(try JinjaSequence(items)) }
    static func makeTuple(_ items: [JinjaValue]) throws(JinjaError) -> JinjaValue { .tuple(try JinjaSequence(items)) }
    static func makeIterator(_ items: [JinjaValue], _ type: String) throws(JinjaError) -> JinjaValue {
        .iterator(JinjaIterator(try JinjaSequence(items), type: type))
    }
    static func missing(_ message: String) -> JinjaValue { .undefined(JinjaUndefined(message)) }

    var isUndefined: Bool { if case .undefined = self { true } else { false } }
    var isNone: Bool { if case .null = self { true } else { false } }
    var string: String? { if case .string(let value) = self { value } else { nil } }
    /// The integer, where Python would take this for an index: an int or a bool.
    var index: Int? {
        switch self {
        case .int(let value): value
        case .bool(let value): value ? 1 : 0
        default: nil
        }
    }
    /// The number as floating point, if this is a number.
    var number: Double? {
        switch self {
        case .int(let value): Double(value)
        case .bool(let value): value ? 1 : 0
        case .double(let value): value
        default: nil
        }
    }

    /// How deep and how much this value holds.
    var extent: JinjaExtent {
        switch self {
        case .string(let text): JinjaExtent(depth: 0, weight: 1 + text.utf8.count >> 6)
        case .list(let items), .tuple(let items): items.extent
        case .dict(let dict): dict.extent
        case .view(let view): view.dict.extent
        case .range(let range): JinjaExtent(depth: 1, weight: 1 + range.count)
        case .iterator(let iterator): iterator.sequence.extent
        case .method(let method): method.extent
        case .cycler(let cycler): cycler.sequence.extent
        default: JinjaExtent(depth: 0, weight: 1)
        }
    }

    /// Python's name for the type.
    var typeName: String {
        switch self {
        case .undefined: "Undefined"
        case .null: "NoneType"
        case .bool: "bool"
        case .int: "int"
        case .double: "float"
        case .string: "str"
        case .list: "list"
        case .tuple: "tuple"
        case .dict: "dict"
        case .view(let view): "dict_\(view.kind.rawValue)"
        case .range: "range"
        case .iterator(let iterator): iterator.type
        case .namespace: "Namespace"
        case .macro: "Macro"
        case .function: "function"
        case .method: "builtin_function_or_method"
        case .loop: "LoopContext"
        case .cycler: "Cycler"
        case .joiner: "Joiner"
        }
    }

    /// How Jinja calls a value in a message: `dict object`, or `None`.
    var describedType: String { isNone ? "None" : "\(typeName) object" }

    /// Python's truth value.
    var isTrue: Bool {
        switch self {
        case .undefined, .null: false
        case .bool(let value): value
        case .int(let value): value != 0
        case .double(let value): value != 0
        case .string(let value): !value.isEmpty
        case .list(let items), .tuple(let items): !items.items.isEmpty
        case .dict(let dict): dict.count > 0
        case .view(let view): view.dict.count > 0
        case .range(let range): range.count > 0
        case .loop(let loop): !loop.items.isEmpty
        case .iterator, .namespace, .macro, .function, .method, .cycler, .joiner: true
        }
    }

    /// The number of elements, where Python's `len` has one.
    var length: Int? {
        switch self {
        case .undefined: 0
        case .string(let value): value.unicodeScalars.count
        case .list(let items), .tuple(let items): items.items.count
        case .dict(let dict): dict.count
        case .view(let view): view.dict.count
        case .range(let range): range.count
        case .loop(let loop): loop.items.count
        default: nil
        }
    }

    /// The elements, where Python could iterate; an iterator is used up by this.
    var elements: [JinjaValue]? {
        switch self {
        case .undefined: []
        case .string(let value): value.unicodeScalars.map { .string(String($0)) }
        case .list(let items), .tuple(let items): items.items
        case .dict(let dict): dict.keys
        case .view(let view): view.items
        case .range(let range): range.items
        case .iterator(let iterator): iterator.drain()
        default: nil
        }
    }

    /// Whether Python could iterate.
    var isIterable: Bool {
        switch self {
        case .undefined, .string, .list, .tuple, .dict, .view, .range, .iterator: true
        default: false
        }
    }

    /// As ``elements``, or Python's error.
    func iterated() throws(JinjaError) -> [JinjaValue] {
        guard let elements else { throw JinjaError("'\(typeName)' object is not iterable") }
        return elements
    }
}
