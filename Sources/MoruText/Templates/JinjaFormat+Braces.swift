extension JinjaInterpreter {
    /// Python's `format.format(arguments)`.
    func formatBraces(_ format: String, _ arguments: JinjaArguments) throws(JinjaError) -> String {
        var automatic = 0
        try budget.scan(format)
        return try formatBraces(Array(format.unicodeScalars), arguments, &automatic, depth: 0)
    }

    private func formatBraces(
        _ scalars: [Unicode.Scalar], _ arguments: JinjaArguments, _ automatic: inout Int, depth: Int
    ) throws(JinjaError) -> String {
        guard depth <= 2 else { throw JinjaError("Max string recursion exceeded") }
        var result = ""
        var index = 0
        while index < scalars.count {
            let scalar = scalars[index]
            index += 1
            guard scalar == "{" || scalar == "}" else {
                result.unicodeScalars.append(scalar)
                continue
            }
            if index < scalars.count, scalars[index] == scalar {
                result.unicodeScalars.append(scalar)
                index += 1
                continue
            }
            guard scalar == "{" else { throw JinjaError("Single '}' encountered in format string") }
            let start = index
            var open = 1
            while index < scalars.count, open > 0 {
                if scalars[index] == "{" { open += 1 } else if scalars[index] == "}" { open -= 1 }
                index += 1
            }
            guard open == 0 else { throw JinjaError("expected '}' before end of string") }
            result += try formatField(Array(scalars[start..<(index - 1)]), arguments, &automatic, depth: depth)
        }
        try budget.allocate(result.utf8.count)
        return result
    }

    /// One field: `name.attribute[item]!conversion:specification`.
    private func formatField(
        _ field: [Unicode.Scalar], _ arguments: JinjaArguments, _ automatic: inout Int, depth: Int
    ) throws(JinjaError) -> String {
        var name = field
        var specification: [Unicode.Scalar] = []
        var conversion: Unicode.Scalar?
        var inBrackets = false
        for (position, scalar) in field.enumerated() {
            if scalar == "[" { inBrackets = true }
            if scalar == "]" { inBrackets = false }
            guard !inBrackets, scalar == ":" || scalar == "!" else { continue }
            name = Array(field[..<position])
            var rest = field[(position + 1)...]
            if scalar == "!" {
                conversion = rest.popFirst()
                guard let end = rest.popFirst() else { break }
                guard end == ":" else { throw JinjaError("expected ':' after conversion specifier") }
            }
            specification = Array(rest)
            break
        }
        var value = try formatValue(name, arguments, &automatic)
        switch conversion {
        case nil: break
        case "s": value = .string(try text(of: value))
        case "r", "a": value = .string(try repr(of: value))
        case let other?: throw JinjaError("Unknown conversion specifier \(other)")
        }
        let expanded = try formatBraces(specification, arguments, &automatic, depth: depth + 1)
        if expanded.isEmpty { return try text(of: value) }
        return try layOut(value, try Self.parse(expanded))
    }

    private func formatValue(
        _ name: [Unicode.Scalar], _ arguments: JinjaArguments, _ automatic: inout Int
    ) throws(JinjaError) -> JinjaValue {
        let first = String(name.prefix { $0 != "." && $0 != "[" })
        var rest = name[first.unicodeScalars.count...]
        var value: JinjaValue
        if first.isEmpty || first.pythonHolds("isdigit") {
            let position = first.isEmpty ? automatic : Int(first) ?? .max
            if first.isEmpty { automatic += 1 }
            guard position < arguments.positional.count else {
                throw JinjaError("Replacement index \(position) out of range for positional args tuple")
            }
            value = arguments.positional[position]
        } else {
            guard let found = arguments.named.first(where: { $0.name.isSameText(as: first) }) else {
                throw JinjaError("format: no value for \(first.pythonRepr)")
            }
            value = found.value
        }
        while let mark = rest.popFirst() {
            if mark == "." {
                let part = String(rest.prefix { $0 != "." && $0 != "[" })
                rest = rest.dropFirst(part.unicodeScalars.count)
                value = try attribute(part, of: value)
            } else {
                guard mark == "[", let close = rest.firstIndex(of: "]") else {
                    throw JinjaError("Missing ']' in format string")
                }
                let key = String(rest[..<close])
                rest = rest[(close + 1)...]
                value = try item(
                    key.pythonHolds("isdigit") ? Int(key).map { .int($0) } ?? .string(key) : .string(key), of: value)
            }
        }
        return value
    }

    private static func parse(_ text: String) throws(JinjaError) -> JinjaFieldSpec {
        var spec = JinjaFieldSpec()
        var rest = Array(text.unicodeScalars)[...]
        func isAlign(_ scalar: Unicode.Scalar?) -> Bool { scalar.map { "<>=^".unicodeScalars.contains($0) } ?? false }
        func takeNumber() -> Int? {
            let digits = String(rest.prefix { "0"..."9" ~= $0 })
            rest = rest.dropFirst(digits.unicodeScalars.count)
            return digits.isEmpty ? nil : Int(digits) ?? .max
        }
        if isAlign(rest.dropFirst().first), let fill = rest.first {
            spec.fill = String(fill)
            spec.align = rest.dropFirst().first
            rest = rest.dropFirst(2)
        } else if isAlign(rest.first) {
            spec.align = rest.popFirst()
        }
        if let sign = rest.first, "+- ".unicodeScalars.contains(sign) {
            spec.sign = sign
            rest.removeFirst()
        }
        if rest.first == "#" {
            spec.isAlternate = true
            rest.removeFirst()
        }
        if rest.first == "0" {
            rest.removeFirst()
            if spec.align == nil { (spec.fill, spec.align) = ("0", "=") }
        }
        spec.width = takeNumber() ?? 0
        if let mark = rest.first, mark == "," || mark == "_" {
            spec.grouping = String(mark)
            rest.removeFirst()
        }
        if rest.first == "." {
            rest.removeFirst()
            guard let precision = takeNumber() else { throw JinjaError("Format specifier missing precision") }
            spec.precision = precision
        }
        spec.type = rest.popFirst()
        guard rest.isEmpty else { throw JinjaError("Invalid format specifier \(text.pythonRepr)") }
        return spec
    }
}
