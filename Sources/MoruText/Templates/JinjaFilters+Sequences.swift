extension JinjaInterpreter {
    /// The filters over sequences.
    func applySequenceFilter(
        _ name: String, _ value: JinjaValue, _ arguments: JinjaArguments
    ) throws(JinjaError) -> JinjaValue {
        switch name {
        case "map": return try map(value, arguments)
        case "select", "reject": return try select(name, value, arguments, byAttribute: false)
        case "selectattr", "rejectattr": return try select(name, value, arguments, byAttribute: true)
        case "length", "count":
            _ = try arguments.bind(name)
            guard let length = value.length else { throw JinjaError("object of type '\(value.typeName)' has no len()") }
            return .int(length)
        case "items":
            _ = try arguments.bind(name)
            if value.isUndefined { return try .makeIterator([], "generator") }
            guard case .dict(let dict) = value else { throw JinjaError("Can only get item pairs from a mapping.") }
            return try .makeIterator(JinjaDictView(dict, .items).items, "generator")
        case "first":
            _ = try arguments.bind(name)
            if case .iterator(let iterator) = value {
                return iterator.next() ?? .missing("No first item, sequence was empty.")
            }
            if case .string(let text) = value, let first = text.unicodeScalars.first { return .string(String(first)) }
            return try elements(value).first ?? .missing("No first item, sequence was empty.")
        case "last":
            _ = try arguments.bind(name)
            guard value.isReversible else { throw JinjaError("'\(value.typeName)' object is not reversible") }
            return try elements(value).last ?? .missing("No last item, sequence was empty.")
        case "reverse":
            _ = try arguments.bind(name)
            if case .string(let text) = value { return .string(String(text.unicodeScalars.reversed())) }
            let reversed: [JinjaValue] = try elements(value).reversed()
            return value.isReversible ? try .makeIterator(reversed, "list_reverseiterator") : try .makeList(reversed)
        case "list":
            _ = try arguments.bind(name)
            return try .makeList(try elements(value))
        case "dictsort": return try dictSort(value, arguments)
        case "sort":
            let bound = try arguments.bind(name, "reverse", "case_sensitive", "attribute")
            let items = try elements(value)
            let keys = try sortKeys(items, bound[2], ignoresCase: !bound[1].flag(false))
            try chargeSort(value, items.count)
            return try .makeList(try items.pythonSorted(by: keys, reverse: bound[0].flag(false)))
        default: return try applyAggregate(name, value, arguments)
        }
    }

    private func applyAggregate(
        _ name: String, _ value: JinjaValue, _ arguments: JinjaArguments
    ) throws(JinjaError) -> JinjaValue {
        switch name {
        case "join":
            let bound = try arguments.bind(name, "d", "attribute")
            var items = try elements(value)
            if let path = path(bound[1]) {
                items = try items.mapped { (item) throws(JinjaError) in try get(path, of: item) }
            }
            let separator = try text(of: bound[0] ?? .string(""))
            return .string(try join(items, separator: separator, convert: true))
        case "sum":
            let bound = try arguments.bind(name, "attribute", "start")
            var total = bound[1] ?? .int(0)
            if case .string = total { throw JinjaError("sum() can't sum strings [use ''.join(seq) instead]") }
            let path = path(bound[0])
            for item in try elements(value) {
                total = try calculate(
                    total, .add, try path.map { (path) throws(JinjaError) in try get(path, of: item) } ?? item)
            }
            return total
        case "min", "max":
            let bound = try arguments.bind(name, "case_sensitive", "attribute")
            let items = try elements(value)
            guard var best = items.first else { return .missing("No aggregated item, sequence was empty.") }
            let keys = try keys(items, bound[1], ignoresCase: !bound[0].flag(false))
            var bestKey = keys[0]
            for (item, key) in zip(items, keys).dropFirst() {
                if name == "min" ? try key.isLess(than: bestKey) : try bestKey.isLess(than: key, symbol: ">") {
                    (best, bestKey) = (item, key)
                }
            }
            return best
        case "unique":
            let bound = try arguments.bind(name, "case_sensitive", "attribute")
            let items = try elements(value)
            var seen: Set<JinjaKey> = []
            var kept: [JinjaValue] = []
            for (item, key) in zip(items, try keys(items, bound[1], ignoresCase: !bound[0].flag(false)))
            where seen.insert(try JinjaKey(key)).inserted {
                kept.append(item)
            }
            return try .makeIterator(kept, "generator")
        case "batch": return try batch(value, arguments)
        case "slice": return try sliceColumns(value, arguments)
        default: return try groupBy(value, arguments)
        }
    }

    private func elements(_ value: JinjaValue) throws(JinjaError) -> [JinjaValue] {
        let items = try iterate(value)
        try budget.step(items.count)
        return items
    }

    /// Counts the comparisons of a sort.
    private func chargeSort(_ value: JinjaValue, _ count: Int) throws(JinjaError) {
        let rounds = Int.bitWidth - count.leadingZeroBitCount
        try budget.step(rounds * (1 + value.extent.weight >> 1))
    }

    // MARK: Attributes of elements

    /// The parts of an attribute path such as `function.name` or `0.id`; nil without one.
    private func path(_ attribute: JinjaValue?) -> [JinjaValue]? {
        guard let attribute, !attribute.isNone else { return nil }
        guard case .string(let text) = attribute else { return [attribute] }
        return Self.path(text)
    }

    private static func path(_ text: String) -> [JinjaValue] {
        text.unicodeScalars.split(separator: ".", omittingEmptySubsequences: false).map { part in
            let name = String(part)
            return name.pythonHolds("isdigit") ? Int(name).map { .int($0) } ?? .string(name) : .string(name)
        }
    }

    private func get(_ path: [JinjaValue], of value: JinjaValue, fallback: JinjaValue? = nil) throws(JinjaError)
        -> JinjaValue
    {
        var value = value
        for part in path {
            value = try item(part, of: value)
            if let fallback, !fallback.isNone, value.isUndefined { value = fallback }
        }
        return value
    }

    private func keys(_ items: [JinjaValue], _ attribute: JinjaValue?, ignoresCase: Bool) throws(JinjaError)
        -> [JinjaValue]
    {
        let path = path(attribute) ?? []
        return try items.mapped { (item) throws(JinjaError) in
            Self.key(try get(path, of: item), ignoresCase: ignoresCase)
        }
    }

    /// Keys for `sort`, whose attribute may name several paths with commas between them.
    private func sortKeys(
        _ items: [JinjaValue], _ attribute: JinjaValue?, ignoresCase: Bool
    ) throws(JinjaError) -> [JinjaValue] {
        guard case .string(let names)? = attribute else {
            return try keys(items, attribute, ignoresCase: ignoresCase)
        }
        let paths = names.unicodeScalars.split(separator: ",", omittingEmptySubsequences: false).map {
            Self.path(String($0))
        }
        return try items.mapped { (item) throws(JinjaError) in
            try .makeList(
                try paths.mapped { (path) throws(JinjaError) in
                    Self.key(try get(path, of: item), ignoresCase: ignoresCase)
                })
        }
    }

    private static func key(_ value: JinjaValue, ignoresCase: Bool) -> JinjaValue {
        if ignoresCase, case .string(let text) = value { return .string(text.lowercased()) }
        return value
    }

    // MARK: Choosing

    private func map(_ value: JinjaValue, _ arguments: JinjaArguments) throws(JinjaError) -> JinjaValue {
        guard value.isTrue else { return try .makeIterator([], "generator") }
        let items = try elements(value)
        if arguments.positional.isEmpty, arguments.named.contains(where: { $0.name == "attribute" }) {
            let bound = try JinjaArguments.only(arguments.named).bind("map", "attribute", "default")
            let path = path(bound[0]) ?? []
            let mapped = try items.mapped { (item) throws(JinjaError) in try get(path, of: item, fallback: bound[1]) }
            return try .makeIterator(mapped, "generator")
        }
        guard let first = arguments.positional.first else { throw JinjaError("map requires a filter argument") }
        let name = try Optional(first).text("")
        var rest = arguments
        rest.positional.removeFirst()
        return try .makeIterator(
            try items.mapped { (item) throws(JinjaError) in try applyFilter(name, to: item, rest) }, "generator")
    }

    private func select(
        _ name: String, _ value: JinjaValue, _ arguments: JinjaArguments, byAttribute: Bool
    ) throws(JinjaError) -> JinjaValue {
        guard value.isTrue else { return try .makeIterator([], "generator") }
        var rest = arguments
        var path: [JinjaValue] = []
        if byAttribute {
            guard let attribute = rest.positional.first else {
                throw JinjaError("Missing parameter for attribute name")
            }
            path = self.path(attribute) ?? []
            rest.positional.removeFirst()
        }
        var test: String?
        if let first = rest.positional.first {
            test = try Optional(first).text("")
            rest.positional.removeFirst()
        }
        let wanted = name.utf8.first == UInt8(ascii: "s")
        var kept: [JinjaValue] = []
        for item in try elements(value) {
            let part = try get(path, of: item)
            let holds = try test.map { (test) throws(JinjaError) in try applyTest(test, to: part, rest) } ?? part.isTrue
            if holds == wanted { kept.append(item) }
        }
        return try .makeIterator(kept, "generator")
    }

    // MARK: Grouping

    private func dictSort(_ value: JinjaValue, _ arguments: JinjaArguments) throws(JinjaError) -> JinjaValue {
        let bound = try arguments.bind("dictsort", "case_sensitive", "by", "reverse")
        if case .undefined(let undefined) = value { throw JinjaError(undefined.message) }
        guard case .dict(let dict) = value else {
            throw JinjaError("'\(value.typeName)' object has no attribute 'items'")
        }
        let by = try bound[1].text("key")
        guard by == "key" || by == "value" else {
            throw JinjaError("You can only sort by either \"key\" or \"value\"")
        }
        let ignoresCase = !bound[0].flag(false)
        let keys = (by == "key" ? dict.keys : dict.values).map { Self.key($0, ignoresCase: ignoresCase) }
        let pairs = JinjaDictView(dict, .items).items
        try chargeSort(value, pairs.count)
        return try .makeList(try pairs.pythonSorted(by: keys, reverse: bound[2].flag(false)))
    }

    private func groupBy(_ value: JinjaValue, _ arguments: JinjaArguments) throws(JinjaError) -> JinjaValue {
        let bound = try arguments.bind("groupby", "attribute", "default", "case_sensitive", required: 1)
        let ignoresCase = !bound[2].flag(false)
        let path = path(bound[0]) ?? []
        let items = try elements(value)
        func plainKey(_ item: JinjaValue) throws(JinjaError) -> JinjaValue {
            try get(path, of: item, fallback: bound[1])
        }
        let keys = try items.mapped { (item) throws(JinjaError) in
            Self.key(try plainKey(item), ignoresCase: ignoresCase)
        }
        try chargeSort(value, items.count)
        let pairs = try zip(items, keys).map { (item, key) throws(JinjaError) in try JinjaValue.makeTuple([key, item]) }
        var groups: [(key: JinjaValue, items: [JinjaValue])] = []
        for pair in try pairs.pythonSorted(by: keys, reverse: false) {
            guard case .tuple(let parts) = pair else { continue }
            if let last = groups.last, last.key.isEqual(to: parts.items[0]) {
                groups[groups.count - 1].items.append(parts.items[1])
            } else {
                groups.append((parts.items[0], [parts.items[1]]))
            }
        }
        var result: [JinjaValue] = []
        for group in groups {
            let list = try JinjaValue.makeList(group.items)
            result.append(try .makeTuple([try plainKey(group.items[0]), list]))
        }
        return try .makeList(result)
    }

    private func batch(_ value: JinjaValue, _ arguments: JinjaArguments) throws(JinjaError) -> JinjaValue {
        let bound = try arguments.bind("batch", "linecount", "fill_with", required: 1)
        let size = try bound[0].integer(1)
        let items = try elements(value)
        var rows: [[JinjaValue]] = []
        for item in items {
            if rows.isEmpty || rows[rows.count - 1].count == size { rows.append([]) }
            rows[rows.count - 1].append(item)
        }
        if let fill = bound[1], !fill.isNone, let last = rows.last, last.count < size {
            try budget.allocate(size - last.count, times: MemoryLayout<JinjaValue>.stride)
            rows[rows.count - 1] += [JinjaValue](repeating: fill, count: size - last.count)
        }
        return try .makeIterator(try rows.mapped { (row) throws(JinjaError) in try .makeList(row) }, "generator")
    }

    private func sliceColumns(_ value: JinjaValue, _ arguments: JinjaArguments) throws(JinjaError) -> JinjaValue {
        let bound = try arguments.bind("slice", "slices", "fill_with", required: 1)
        let count = try bound[0].integer(1)
        let items = try elements(value)
        guard count != 0 else { throw JinjaError("integer division or modulo by zero") }
        guard count > 0 else { return try .makeIterator([], "generator") }
        try budget.allocate(count, times: 64)
        let (size, extra) = (items.count / count, items.count % count)
        var columns: [JinjaValue] = []
        var start = 0
        for column in 0..<count {
            let end = start + size + (column < extra ? 1 : 0)
            var part = Array(items[start..<end])
            if let fill = bound[1], !fill.isNone, column >= extra { part.append(fill) }
            columns.append(try .makeList(part))
            start = end
        }
        return try .makeIterator(columns, "generator")
    }
}

extension JinjaArguments {
    fileprivate static func only(_ named: [(name: String, value: JinjaValue)]) -> JinjaArguments {
        var arguments = JinjaArguments()
        arguments.named = named
        return arguments
    }
}

extension JinjaValue {
    /// Whether Python's `reversed` takes it.
    fileprivate var isReversible: Bool {
        switch self {
        case .undefined, .string, .list, .tuple, .dict, .view, .range: true
        default: false
        }
    }
}

extension Array {
    /// `map` with the error's type kept.
    fileprivate func mapped<Result>(
        _ transform: (Element) throws(JinjaError) -> Result
    ) throws(JinjaError) -> [Result] {
        var results: [Result] = []
        results.reserveCapacity(count)
        for element in self { results.append(try transform(element)) }
        return results
    }
}
