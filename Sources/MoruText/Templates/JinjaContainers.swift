/// What an undefined value says when it is used.
final class JinjaUndefined {
    let message: String
    init(_ message: String) { self.message = message }
}

/// How deep a value's containers are nested, and how much it holds in all.
struct JinjaExtent {
    /// Comparing, printing and freeing a value costs stack for each level.
    static let maximumDepth = 200
    /// A value that holds the same list twice counts it twice, as printing it would.
    static let maximumWeight = 1 << 24

    private(set) var depth: Int
    /// The number of values, a long text counting for several.
    private(set) var weight: Int

    init(depth: Int, weight: Int) {
        self.depth = depth
        self.weight = weight
    }

    /// The extent of an empty container.
    static let empty = JinjaExtent(depth: 1, weight: 1)

    /// Adds an element to a container's extent.
    mutating func add(_ element: JinjaExtent) throws(JinjaError) {
        depth = max(depth, element.depth + 1)
        weight += element.weight
        guard depth <= Self.maximumDepth else {
            throw JinjaError("values nested deeper than \(Self.maximumDepth) levels", kind: .limit)
        }
        guard weight <= Self.maximumWeight else {
            throw JinjaError("a value that holds more than \(Self.maximumWeight) others", kind: .limit)
        }
    }
}

/// The elements of a list or tuple.
final class JinjaSequence {
    let items: [JinjaValue]
    let extent: JinjaExtent

    init(_ items: [JinjaValue]) throws(JinjaError) {
        self.items = items
        var extent = JinjaExtent.empty
        for item in items { try extent.add(item.extent) }
        self.extent = extent
    }
}

/// A dictionary, in the order its keys were first set.
final class JinjaDict {
    private(set) var keys: [JinjaValue] = []
    private(set) var values: [JinjaValue] = []
    private(set) var extent = JinjaExtent.empty
    private var positions: [JinjaKey: Int] = [:]

    /// Small dictionaries are searched in order; only larger ones pay for a hash table.
    private static let linearLimit = 10

    var count: Int { keys.count }

    /// Sets a member; only while the dictionary is being made.
    func set(_ key: JinjaValue, _ value: JinjaValue) throws(JinjaError) {
        try extent.add(key.extent)
        try extent.add(value.extent)
        if let position = try position(of: key) {
            values[position] = value
            return
        }
        keys.append(key)
        values.append(value)
        guard keys.count > Self.linearLimit else { return }
        if positions.isEmpty {
            for (position, key) in keys.enumerated() { positions[try JinjaKey(key)] = position }
        } else {
            positions[try JinjaKey(key)] = keys.count - 1
        }
    }

    /// The value of a key.
    ///
    /// - Throws: Python's error for a key that cannot be hashed.
    func get(_ key: JinjaValue) throws(JinjaError) -> JinjaValue? { try position(of: key).map { values[$0] } }

    /// The value of a string key.
    func get(_ name: String) -> JinjaValue? {
        if positions.isEmpty {
            for (position, key) in keys.enumerated() {
                if case .string(let text) = key, text.isSameText(as: name) { return values[position] }
            }
            return nil
        }
        return positions[JinjaKey(name)].map { values[$0] }
    }

    private func position(of key: JinjaValue) throws(JinjaError) -> Int? {
        let wanted = try JinjaKey(key)
        if !positions.isEmpty { return positions[wanted] }
        for position in keys.indices where try JinjaKey(keys[position]) == wanted { return position }
        return nil
    }
}

/// A value as a key: equal and hashed as in Python, where `1`, `1.0` and `True` are one key.
enum JinjaKey: Hashable {
    case none
    case undefined
    case number(Double)
    case int(Int)
    case text([UInt8])
    case tuple([JinjaKey])
    case object(ObjectIdentifier)

    init(_ name: String) { self = .text(Array(name.utf8)) }

    init(_ value: JinjaValue) throws(JinjaError) {
        switch value {
        case .null: self = .none
        case .undefined: self = .undefined
        case .bool(let flag): self = .int(flag ? 1 : 0)
        case .int(let number): self = .int(number)
        case .double(let number): self = Int(exactly: number).map { .int($0) } ?? .number(number)
        case .string(let text): self = JinjaKey(text)
        case .tuple(let items):
            var keys: [JinjaKey] = []
            for item in items.items { keys.append(try JinjaKey(item)) }
            self = .tuple(keys)
        case .range(let range): self = .tuple([.none, .int(range.start), .int(range.count), .int(range.step)])
        case .list, .dict, .view: throw JinjaError("unhashable type: '\(value.typeName)'")
        case .iterator(let object): self = .object(ObjectIdentifier(object))
        case .namespace(let object): self = .object(ObjectIdentifier(object))
        case .macro(let object): self = .object(ObjectIdentifier(object))
        case .method(let object): self = .object(ObjectIdentifier(object))
        case .loop(let object): self = .object(ObjectIdentifier(object))
        case .cycler(let object): self = .object(ObjectIdentifier(object))
        case .joiner(let object): self = .object(ObjectIdentifier(object))
        case .function(let function): self = JinjaKey("function " + function.rawValue)
        }
    }
}

/// What `keys()`, `values()` and `items()` return.
final class JinjaDictView {
    enum Kind: String {
        case keys
        case values
        case items
    }

    let dict: JinjaDict
    let kind: Kind

    init(_ dict: JinjaDict, _ kind: Kind) {
        self.dict = dict
        self.kind = kind
    }

    var items: [JinjaValue] {
        switch kind {
        case .keys: return dict.keys
        case .values: return dict.values
        case .items:
            // A pair is no deeper than the dictionary that holds its parts, so this cannot fail.
            return zip(dict.keys, dict.values).compactMap { try? JinjaValue.makeTuple([$0, $1]) }
        }
    }
}

/// A `range`.
final class JinjaRange {
    /// As jinja2's sandbox has it.
    static let maximumCount = 100_000

    let start: Int
    let stop: Int
    let step: Int
    let count: Int

    init(start: Int, stop: Int, step: Int) throws(JinjaError) {
        guard step != 0 else { throw JinjaError("range() arg 3 must not be zero") }
        let (span, overflow) =
            step > 0 ? stop.subtractingReportingOverflow(start) : start.subtractingReportingOverflow(stop)
        let stride = step.magnitude
        let count = span <= 0 ? 0 : (UInt(span) - 1) / stride + 1
        guard !overflow, count <= Self.maximumCount else {
            throw JinjaError(
                "range too big: more than \(Self.maximumCount) elements", kind: .limit)
        }
        self.start = start
        self.stop = stop
        self.step = step
        self.count = Int(count)
    }

    var items: [JinjaValue] { (0..<count).map { .int(start + $0 * step) } }
}

/// Something that can be iterated once: what filters such as `map` and `select` return.
final class JinjaIterator {
    let sequence: JinjaSequence
    let type: String
    private var position = 0

    init(_ sequence: JinjaSequence, type: String) {
        self.sequence = sequence
        self.type = type
    }

    func next() -> JinjaValue? {
        guard position < sequence.items.count else { return nil }
        position += 1
        return sequence.items[position - 1]
    }

    func drain() -> [JinjaValue] {
        defer { position = sequence.items.count }
        return Array(sequence.items[position...])
    }
}

/// A namespace, the one thing a template can change.
final class JinjaNamespace {
    private(set) var attributes: [(name: String, value: JinjaValue)] = []

    func get(_ name: String) -> JinjaValue? { attributes.first { $0.name.isSameText(as: name) }?.value }

    func set(_ name: String, _ value: JinjaValue) throws(JinjaError) {
        guard name.utf8.first != 0x5F else {
            throw JinjaError("a namespace cannot have the attribute '\(name)', since it starts with an underscore")
        }
        if let position = attributes.firstIndex(where: { $0.name.isSameText(as: name) }) {
            attributes[position].value = value
        } else {
            attributes.append((name, value))
        }
    }

    func clear() { attributes = [] }
}

/// A method of a value, not yet called.
final class JinjaMethod {
    let receiver: JinjaValue
    let name: String

    init(_ receiver: JinjaValue, _ name: String) {
        self.receiver = receiver
        self.name = name
    }

    var extent: JinjaExtent {
        let inner = receiver.extent
        return JinjaExtent(depth: inner.depth + 1, weight: inner.weight + 1)
    }
}

/// What `cycler(...)` returns.
final class JinjaCycler {
    let sequence: JinjaSequence
    var position = 0

    init(_ sequence: JinjaSequence) { self.sequence = sequence }

    var current: JinjaValue { sequence.items[position] }

    func next() -> JinjaValue {
        defer { position = (position + 1) % sequence.items.count }
        return current
    }
}

/// What `joiner(...)` returns: nothing when first called, then its separator.
final class JinjaJoiner {
    let separator: JinjaValue
    private var isUsed = false

    init(_ separator: JinjaValue) { self.separator = separator }

    func next() -> JinjaValue {
        defer { isUsed = true }
        return isUsed ? separator : .string("")
    }
}

/// A macro or `caller`, with the variables it sees.
final class JinjaMacro {
    let syntax: JinjaMacroSyntax
    let scope: JinjaScope

    init(_ syntax: JinjaMacroSyntax, scope: JinjaScope) {
        self.syntax = syntax
        self.scope = scope
    }
}

/// The variable `loop`.
final class JinjaLoop {
    let items: [JinjaValue]
    let depth0: Int
    /// For a loop marked `recursive`: the loop and where it stands.
    let recursion: (syntax: JinjaLoopSyntax, scope: JinjaScope)?
    var index0 = 0
    var lastChanged: [JinjaValue]?

    init(items: [JinjaValue], depth0: Int, recursion: (syntax: JinjaLoopSyntax, scope: JinjaScope)?) {
        self.items = items
        self.depth0 = depth0
        self.recursion = recursion
    }
}

/// The variables of one block, and the block around it.
final class JinjaScope {
    private(set) var parent: JinjaScope?
    private var symbols: [Int] = []
    private var values: [JinjaValue] = []

    init(parent: JinjaScope?) { self.parent = parent }

    func get(_ symbol: Int) -> JinjaValue? {
        var scope: JinjaScope? = self
        while let current = scope {
            if let position = current.symbols.firstIndex(of: symbol) { return current.values[position] }
            scope = current.parent
        }
        return nil
    }

    func set(_ symbol: Int, _ value: JinjaValue) {
        if let position = symbols.firstIndex(of: symbol) {
            values[position] = value
        } else {
            symbols.append(symbol)
            values.append(value)
        }
    }

    /// Lets go of everything, so that a macro and the scope that holds it do not keep each other alive.
    func clear() {
        parent = nil
        symbols = []
        values = []
    }
}
