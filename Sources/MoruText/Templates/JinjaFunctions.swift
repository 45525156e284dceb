import Foundation

/// The functions that every template knows.
enum JinjaFunction: String, CaseIterable {
    case range
    case dict
    case namespace
    case cycler
    case joiner
    case raiseException = "raise_exception"
    case strftimeNow = "strftime_now"
}

extension JinjaInterpreter {
    /// Calls a value.
    func call(_ value: JinjaValue, _ arguments: JinjaArguments) throws(JinjaError) -> JinjaValue {
        switch value {
        case .function(let function): return try call(function, arguments)
        case .method(let method): return try call(method, arguments)
        case .macro(let macro): return .string(try call(macro, arguments))
        case .joiner(let joiner): return joiner.next()
        case .loop(let loop): return .string(try recurse(loop, arguments))
        case .undefined(let undefined): throw JinjaError(undefined.message)
        default: throw JinjaError("'\(value.typeName)' object is not callable")
        }
    }

    private func call(_ function: JinjaFunction, _ arguments: JinjaArguments) throws(JinjaError) -> JinjaValue {
        switch function {
        case .range:
            let bounds = try arguments.bind("range", "start", "stop", "step", required: 1)
            let first = try bounds[0].integer(0)
            let hasStop = arguments.positional.count > 1
            let range = try JinjaRange(
                start: hasStop ? first : 0, stop: hasStop ? try bounds[1].integer(0) : first,
                step: try bounds[2].integer(1))
            return .range(range)
        case .dict: return .dict(try makeDict("dict", arguments))
        case .namespace:
            let namespace = makeNamespace()
            let dict = try makeDict("namespace", arguments)
            for (key, value) in zip(dict.keys, dict.values) {
                guard let name = key.string else { throw JinjaError("the attributes of a namespace are strings") }
                try namespace.set(name, value)
            }
            return .namespace(namespace)
        case .cycler:
            guard !arguments.positional.isEmpty else { throw JinjaError("at least one item has to be provided") }
            return .cycler(JinjaCycler(try JinjaSequence(arguments.positional)))
        case .joiner:
            let bound = try arguments.bind("joiner", "sep")
            return .joiner(JinjaJoiner(bound[0] ?? .string(", ")))
        case .raiseException:
            let bound = try arguments.bind("raise_exception", "message", required: 1)
            throw JinjaError(try text(of: bound[0] ?? .null), kind: .raised)
        case .strftimeNow:
            let bound = try arguments.bind("strftime_now", "format", required: 1)
            return .string(JinjaTime.format(try bound[0].text(""), now))
        }
    }

    private func makeDict(_ name: String, _ arguments: JinjaArguments) throws(JinjaError) -> JinjaDict {
        guard arguments.positional.count <= 1 else { throw JinjaError("\(name) expected at most 1 argument") }
        let dict = JinjaDict()
        switch arguments.positional.first {
        case .dict(let source)?:
            for (key, value) in zip(source.keys, source.values) { try dict.set(key, value) }
        case let pairs?:
            for pair in try iterate(pairs) {
                let parts = try iterate(pair)
                guard parts.count == 2 else { throw JinjaError("\(name) needs pairs, got \(parts.count) elements") }
                try dict.set(parts[0], parts[1])
            }
        case nil: break
        }
        for (key, value) in arguments.named { try dict.set(.string(key), value) }
        return dict
    }

    // MARK: Macros

    private func call(_ macro: JinjaMacro, _ arguments: JinjaArguments) throws(JinjaError) -> String {
        let syntax = macro.syntax
        var named = arguments.named
        func takeNamed(_ name: String) -> JinjaValue? {
            guard let position = named.firstIndex(where: { $0.name == name }) else { return nil }
            return named.remove(at: position).value
        }
        var values: [JinjaValue?] = []
        for (position, parameter) in syntax.parameters.enumerated() {
            if position < arguments.positional.count {
                values.append(arguments.positional[position])
            } else {
                values.append(takeNamed(self.syntax.symbols[parameter.symbol]))
            }
        }
        let caller = syntax.usesCaller ? takeNamed("caller") : nil
        if !syntax.usesKwargs, let name = named.first?.name {
            throw JinjaError("macro '\(syntax.name)' takes no keyword argument '\(name)'")
        }
        let surplus = Array(arguments.positional.dropFirst(syntax.parameters.count))
        if !syntax.usesVarargs, !surplus.isEmpty {
            throw JinjaError("macro '\(syntax.name)' takes not more than \(syntax.parameters.count) argument(s)")
        }
        let callLine = line
        let text = try withScope(in: macro.scope) { () throws(JinjaError) in
            try bind(syntax, values)
            if syntax.usesCaller { setSpecial("caller", caller ?? .missing("No caller defined")) }
            if syntax.usesVarargs { setSpecial("varargs", try .makeTuple(surplus)) }
            if syntax.usesKwargs {
                let dict = JinjaDict()
                for (name, value) in named { try dict.set(.string(name), value) }
                setSpecial("kwargs", .dict(dict))
            }
            return try capture { () throws(JinjaError) in _ = try execute(syntax.body) }
        }
        line = callLine
        return text
    }

    private func bind(_ macro: JinjaMacroSyntax, _ values: [JinjaValue?]) throws(JinjaError) {
        for (parameter, value) in zip(macro.parameters, values) {
            if let value {
                scope.set(parameter.symbol, value)
            } else if let fallback = parameter.fallback {
                scope.set(parameter.symbol, try evaluate(fallback))
            } else {
                let name = syntax.symbols[parameter.symbol]
                scope.set(parameter.symbol, .missing("parameter '\(name)' was not provided"))
            }
        }
    }

    private func setSpecial(_ name: String, _ value: JinjaValue) {
        if let symbol = syntax.symbols.firstIndex(of: name) { scope.set(symbol, value) }
    }

    private func recurse(_ loop: JinjaLoop, _ arguments: JinjaArguments) throws(JinjaError) -> String {
        guard let recursion = loop.recursion else {
            throw JinjaError("the loop must have the 'recursive' marker to be called recursively")
        }
        let bound = try arguments.bind("loop", "iterable", required: 1)
        let outer = scope
        scope = recursion.scope
        defer { scope = outer }
        return try capture { () throws(JinjaError) in
            try runLoop(recursion.syntax, over: bound[0] ?? .null, depth0: loop.depth0 + 1)
        }
    }
}

/// Dates as Python's `strftime` writes them, in local time.
enum JinjaTime {
    static func format(_ format: String, _ date: Date) -> String {
        var prepared = ""
        var isDirective = false
        let seconds = date.timeIntervalSince1970.rounded(.down)
        for scalar in format.unicodeScalars {
            if isDirective {
                isDirective = false
                switch scalar {
                // A Python date without a time zone has none to print; glibc knows no microseconds.
                case "z", "Z": continue
                case "f":
                    let micros = String(Int((date.timeIntervalSince1970 - seconds) * 1_000_000))
                    prepared += String(repeating: "0", count: max(0, 6 - micros.utf8.count)) + micros
                    continue
                default: prepared += "%"
                }
                prepared.unicodeScalars.append(scalar)
            } else if scalar == "%" {
                isDirective = true
            } else {
                prepared.unicodeScalars.append(scalar)
            }
        }
        if isDirective { prepared += "%" }
        guard !prepared.isEmpty else { return "" }
        var time = time_t(max(-1e15, min(1e15, seconds)))
        var parts = tm()
        localtime_r(&time, &parts)
        // The space tells an empty result from a buffer that is too small.
        prepared += " "
        var size = 256
        while size <= 1 << 20 {
            var buffer = [CChar](repeating: 0, count: size)
            let count = strftime(&buffer, size, prepared, &parts)
            if count > 0 {
                return String(decoding: buffer[..<(count - 1)].map { UInt8(bitPattern: $0) }, as: UTF8.self)
            }
            size *= 4
        }
        return format
    }
}
