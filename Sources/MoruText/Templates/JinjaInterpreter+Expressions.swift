extension JinjaInterpreter {
    func evaluate(_ expression: JinjaExpression) throws(JinjaError) -> JinjaValue {
        switch expression {
        case .none: return .null
        case .bool(let value): return .bool(value)
        case .int(let value): return .int(value)
        case .double(let value): return .double(value)
        case .string(let value): return .string(value)
        case .name(let symbol): return lookUp(symbol)
        default: break
        }
        try budget.step()
        try budget.enter()
        defer { budget.leave() }
        return try evaluateCompound(expression)
    }

    private func evaluateCompound(_ expression: JinjaExpression) throws(JinjaError) -> JinjaValue {
        switch expression {
        case .postfix(let base, let operations): return try apply(operations, to: try evaluate(base))
        case .list(let items): return try .makeList(try evaluate(items))
        case .tuple(let items): return try .makeTuple(try evaluate(items))
        case .dict(let members): return try evaluateDict(members)
        case .conditional(let test, let then, let otherwise, let line):
            if try evaluate(test).isTrue { return try evaluate(then) }
            if let otherwise { return try evaluate(otherwise) }
            return .missing(
                "the inline if-expression on line \(line) evaluated to false and no else section was defined.")
        case .or(let operands): return try evaluateUntil(true, operands)
        case .and(let operands): return try evaluateUntil(false, operands)
        case .not(let operand): return .bool(try !evaluate(operand).isTrue)
        case .compare(let first, let rest): return try evaluateComparison(first, rest)
        case .arithmetic(let first, let rest):
            var value = try evaluate(first)
            try budget.step(rest.count)
            for (operation, operand) in rest { value = try calculate(value, operation, try evaluate(operand)) }
            return value
        case .concatenate(let operands):
            var text = ""
            try budget.step(operands.count)
            for operand in operands {
                text += try self.text(of: try evaluate(operand))
                try budget.allocate(text.utf8.count)
            }
            return .string(text)
        case .negative(let operand): return try negate(try evaluate(operand))
        case .positive(let operand): return try positive(try evaluate(operand))
        case .none, .bool, .int, .double, .string, .name: return try evaluate(expression)
        }
    }

    private func evaluate(_ expressions: [JinjaExpression]) throws(JinjaError) -> [JinjaValue] {
        var values: [JinjaValue] = []
        try budget.step(expressions.count)
        values.reserveCapacity(expressions.count)
        for expression in expressions { values.append(try evaluate(expression)) }
        return values
    }

    private func evaluateDict(
        _ members: [(key: JinjaExpression, value: JinjaExpression)]
    ) throws(JinjaError) -> JinjaValue {
        let dict = JinjaDict()
        try budget.step(members.count * 2)
        for (key, value) in members { try dict.set(try evaluate(key), try evaluate(value)) }
        return .dict(dict)
    }

    /// The first operand whose truth is `wanted`, or the last.
    private func evaluateUntil(_ wanted: Bool, _ operands: [JinjaExpression]) throws(JinjaError) -> JinjaValue {
        var value = JinjaValue.null
        try budget.step(operands.count)
        for operand in operands {
            value = try evaluate(operand)
            if value.isTrue == wanted { break }
        }
        return value
    }

    private func evaluateComparison(
        _ first: JinjaExpression, _ rest: [(operation: JinjaComparison, operand: JinjaExpression)]
    ) throws(JinjaError) -> JinjaValue {
        var left = try evaluate(first)
        for (comparison, operand) in rest {
            let right = try evaluate(operand)
            try budget.traverse(right)
            if comparison == .contained || comparison == .notContained { try budget.traverse(left) }
            guard try left.compare(comparison, right) else { return .bool(false) }
            left = right
        }
        return .bool(true)
    }

    // MARK: Postfix operations

    func apply(_ operations: [JinjaPostfix], to base: JinjaValue) throws(JinjaError) -> JinjaValue {
        var value = base
        try budget.step(operations.count)
        for operation in operations {
            switch operation {
            case .attribute(let name): value = try attribute(name, of: value)
            case .item(let index): value = try item(try evaluate(index), of: value)
            case .slice(let start, let stop, let step):
                value = try slice(
                    value, start.map { (bound) throws(JinjaError) in try evaluate(bound) },
                    stop.map { (bound) throws(JinjaError) in try evaluate(bound) },
                    step.map { (bound) throws(JinjaError) in try evaluate(bound) })
            case .call(let arguments, let line):
                let values = try evaluate(arguments)
                self.line = line
                value = try call(value, values)
            case .filter(let name, let arguments, let line):
                let values = try evaluate(arguments)
                self.line = line
                value = try applyFilter(name, to: value, values)
            case .test(let name, let arguments, let negated, let line):
                let values = try evaluate(arguments)
                self.line = line
                value = .bool(try applyTest(name, to: value, values) != negated)
            }
        }
        return value
    }

    /// Evaluates the call of a `call` block, its `caller` added to the arguments.
    func evaluateCall(_ expression: JinjaExpression, caller: JinjaValue) throws(JinjaError) -> JinjaValue {
        guard case .postfix(let base, let operations) = expression,
            case .call(let arguments, let line)? = operations.last
        else { throw JinjaError("expected a call") }
        let function = try apply(Array(operations.dropLast()), to: try evaluate(base))
        var values = try evaluate(arguments)
        values.named.append(("caller", caller))
        self.line = line
        return try call(function, values)
    }

    private func evaluate(_ arguments: JinjaCallArguments) throws(JinjaError) -> JinjaArguments {
        var values = JinjaArguments(try evaluate(arguments.positional))
        for (name, value) in arguments.named { values.named.append((name, try evaluate(value))) }
        if let unpacked = arguments.unpacked {
            values.positional += try iterate(try evaluate(unpacked))
        }
        if let unpacked = arguments.unpackedNamed {
            guard case .dict(let dict) = try evaluate(unpacked) else {
                throw JinjaError("argument after ** must be a mapping")
            }
            for (key, value) in zip(dict.keys, dict.values) {
                guard let name = key.string else { throw JinjaError("keywords must be strings") }
                guard !values.named.contains(where: { $0.name == name }) else {
                    throw JinjaError("got multiple values for keyword argument '\(name)'")
                }
                values.named.append((name, value))
            }
        }
        return values
    }

    // MARK: Attributes and items

    /// `value.name`: an attribute, else an item.
    func attribute(_ name: String, of value: JinjaValue) throws(JinjaError) -> JinjaValue {
        if let found = try knownAttribute(name, of: value) { return found }
        if case .dict(let dict) = value, let item = dict.get(name) { return item }
        return .missing("'\(value.describedType)' has no attribute '\(name)'")
    }

    /// `value[index]`: an item, else (for a string) an attribute.
    func item(_ index: JinjaValue, of value: JinjaValue) throws(JinjaError) -> JinjaValue {
        if let found = try knownItem(index, of: value) { return found }
        if case .string(let name) = index {
            if let found = try knownAttribute(name, of: value) { return found }
            return .missing("'\(value.describedType)' has no attribute '\(name)'")
        }
        return .missing("\(value.describedType) has no element \(try repr(of: index))")
    }

    private func knownItem(_ index: JinjaValue, of value: JinjaValue) throws(JinjaError) -> JinjaValue? {
        switch value {
        case .undefined(let undefined): throw JinjaError(undefined.message)
        case .dict(let dict):
            // An unhashable key is a missing one, as jinja2 has it.
            return try? dict.get(index)
        case .list(let items), .tuple(let items):
            guard let position = index.index, let place = Self.place(position, count: items.items.count) else {
                return nil
            }
            return items.items[place]
        case .string(let text):
            guard let position = index.index else { return nil }
            let scalars = text.unicodeScalars
            if position >= 0 {
                guard let found = scalars.dropFirst(position).first else { return nil }
                return .string(String(found))
            }
            guard let found = scalars.dropLast(-(position + 1)).last else { return nil }
            return .string(String(found))
        case .range(let range):
            guard let position = index.index, let place = Self.place(position, count: range.count) else { return nil }
            return .int(range.start + place * range.step)
        default: return nil
        }
    }

    private static func place(_ position: Int, count: Int) -> Int? {
        let place = position < 0 ? position + count : position
        return place >= 0 && place < count ? place : nil
    }

    private func knownAttribute(_ name: String, of value: JinjaValue) throws(JinjaError) -> JinjaValue? {
        switch value {
        case .undefined(let undefined): throw JinjaError(undefined.message)
        case .namespace(let namespace): return namespace.get(name)
        case .loop(let loop): return loop.attribute(name) ?? method(name, of: value)
        case .cycler(let cycler) where name == "current": return cycler.current
        case .macro(let macro) where name == "name": return .string(macro.syntax.name)
        case .range(let range):
            switch name {
            case "start": return .int(range.start)
            case "stop": return .int(range.stop)
            case "step": return .int(range.step)
            default: return method(name, of: value)
            }
        default: return method(name, of: value)
        }
    }

    private func method(_ name: String, of value: JinjaValue) -> JinjaValue? {
        if JinjaMethods.changing(value).contains(name) {
            return .missing("access to attribute '\(name)' of '\(value.typeName)' object is unsafe.")
        }
        return JinjaMethods.names(value).contains(name) ? .method(JinjaMethod(value, name)) : nil
    }

    // MARK: Slices

    private func slice(
        _ value: JinjaValue, _ start: JinjaValue?, _ stop: JinjaValue?, _ step: JinjaValue?
    ) throws(JinjaError) -> JinjaValue {
        func positions(_ count: Int) throws(JinjaError) -> JinjaSlice {
            try JinjaSlice(start: start, stop: stop, step: step, count: count)
        }
        switch value {
        case .undefined(let undefined): throw JinjaError(undefined.message)
        case .list(let items): return try .makeList(try positions(items.items.count).of(items.items))
        case .tuple(let items): return try .makeTuple(try positions(items.items.count).of(items.items))
        case .string(let text):
            let scalars = Array(text.unicodeScalars)
            let sliced = try positions(scalars.count).of(scalars)
            try budget.allocate(sliced.count)
            return .string(String(sliced))
        case .range(let range):
            let places = try positions(range.count)
            return .range(
                try JinjaRange(
                    start: range.start + places.start * range.step,
                    stop: range.start + (places.start + places.count * places.step) * range.step,
                    step: range.step * places.step))
        default: throw JinjaError("'\(value.typeName)' object is not subscriptable with a slice")
        }
    }
}

/// The positions that Python's `[start:stop:step]` takes out of `count` elements.
struct JinjaSlice {
    let start: Int
    let step: Int
    let count: Int

    init(start: JinjaValue?, stop: JinjaValue?, step: JinjaValue?, count total: Int) throws(JinjaError) {
        func bound(_ value: JinjaValue?) throws(JinjaError) -> Int? {
            guard let value, !value.isNone else { return nil }
            guard let index = value.index else {
                if case .undefined(let undefined) = value { throw JinjaError(undefined.message) }
                throw JinjaError("slice indices must be integers or None")
            }
            return index
        }
        let step = try bound(step) ?? 1
        guard step != 0 else { throw JinjaError("slice step cannot be zero") }
        // Steps past the ends all mean the same, and stay clear of overflow.
        self.step = max(-total - 1, min(total + 1, step))
        let lowest = step > 0 ? 0 : -1
        let highest = step > 0 ? total : total - 1
        func clamp(_ index: Int?, _ absent: Int) -> Int {
            guard let index else { return absent }
            return max(lowest, min(highest, index < 0 ? max(index, -total - 1) + total : index))
        }
        let first = clamp(try bound(start), step > 0 ? lowest : highest)
        let last = clamp(try bound(stop), step > 0 ? highest : lowest)
        let span = step > 0 ? last - first : first - last
        self.start = first
        self.count = span <= 0 ? 0 : (span - 1) / Int(self.step.magnitude) + 1
    }

    func of<Element>(_ elements: [Element]) -> [Element] {
        step == 1 ? Array(elements[start..<(start + count)]) : (0..<count).map { elements[start + $0 * step] }
    }
}

extension JinjaLoop {
    /// What `loop.name` is, if it is no method.
    func attribute(_ name: String) -> JinjaValue? {
        switch name {
        case "index": .int(index0 + 1)
        case "index0": .int(index0)
        case "revindex": .int(items.count - index0)
        case "revindex0": .int(items.count - index0 - 1)
        case "first": .bool(index0 == 0)
        case "last": .bool(index0 == items.count - 1)
        case "length": .int(items.count)
        case "depth": .int(depth0 + 1)
        case "depth0": .int(depth0)
        case "previtem": index0 > 0 ? items[index0 - 1] : .missing("there is no previous item")
        case "nextitem": index0 + 1 < items.count ? items[index0 + 1] : .missing("there is no next item")
        default: nil
        }
    }
}
