import MoruBase

extension JSONSchemaGrammar {
    // MARK: - Strings

    mutating func string(_ constraints: JSONObject, at path: String) throws(MoruError) -> Expression {
        let (least, most) = (
            try count("minLength", constraints, at: path), try count("maxLength", constraints, at: path)
        )
        let guides = ["pattern", "format"].filter { constraints[$0] != nil }
        guard let guide = guides.first else {
            if least == nil, most == nil { return .rule(Shared.string) }
            if let least, let most, least > most { return .never }
            return JSON.sequence(
                .text("\""), .repeated(.rule(Shared.character), minimum: least ?? 0, maximum: most), .text("\""))
        }
        guard guides.count == 1, least ?? 0 == 0, most == nil else {
            throw unsupported(
                path,
                "\(guide) stands beside \(guides.count > 1 ? guides[1] : least == nil ? "maxLength" : "minLength")",
                "say the length in the pattern, as in ^[a-z]{2,8}$")
        }
        guard let text = constraints[guide]?.string else { throw malformed(path, "\(guide) is not a string") }
        let pattern: String
        if guide == "format" {
            guard let known = Self.formats[text] else {
                throw unsupported(
                    path, "the format \"\(text)\" is not supported",
                    "supported are \(Self.formats.keys.sorted().joined(separator: ", ")); or give a pattern")
            }
            pattern = known
        } else {
            pattern = text
        }
        do {
            let reader = RegexExpressions(pattern: pattern, character: JSON.character)
            return JSON.sequence(
                .text("\""), rule(try reader.expression(matchesWhole: guide == "format")), .text("\""))
        } catch {
            throw error.within("JSON schema, \(path)")
        }
    }

    /// The formats of JSON Schema that are followed, as patterns of some of their strings.
    private static let formats: [String: String] = {
        let date =
            "[12]\\d{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)"
            + "|02-(?:0[1-9]|1\\d|2[0-8]))"
        let time = "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,6})?(?:Z|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)"
        let label = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,30}[A-Za-z0-9])?"
        let host = "(?:\(label)\\.){1,4}[A-Za-z]{2,24}"
        let byte = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
        return [
            "date": date, "time": time, "date-time": "(?:\(date))T\(time)",
            "duration": "P(?:\\d{1,4}D(?:T\\d{1,4}[HMS])?|T\\d{1,4}[HMS]|\\d{1,4}W)",
            "email": "[A-Za-z0-9_+-]{1,32}(?:\\.[A-Za-z0-9_+-]{1,32}){0,3}@\(host)", "hostname": host,
            "ipv4": "(?:\(byte)\\.){3}\(byte)", "ipv6": "(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}",
            "uri": "https?://\(host)(?::\\d{2,4})?(?:/[A-Za-z0-9._~-]{0,64}){0,16}(?:\\?[A-Za-z0-9._~=&-]{1,256})?",
            "uuid": "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        ]
    }()

    // MARK: - Numbers

    func number(_ type: String, _ constraints: JSONObject, at path: String) throws(MoruError) -> Expression {
        if let multiple = constraints["multipleOf"], multiple.int != 1 || type != "integer" {
            throw unsupported(
                path, "multipleOf \(multiple.text()) cannot be guaranteed",
                "ask for an integer, or check the answer yourself")
        }
        let low = try bound("minimum", "exclusiveMinimum", constraints, at: path) { $0 > $1 }
        let high = try bound("maximum", "exclusiveMaximum", constraints, at: path) { $0 < $1 }
        if type == "integer" {
            let first = low.map { Self.whole($0.value, up: true, $0.isExclusive) }
            let last = high.map { Self.whole($0.value, up: false, $0.isExclusive) }
            return DecimalBounds.integers(first, last)
        }
        if low == nil, high == nil { return .rule(Shared.number) }
        var parts: [Expression] = []
        if high.map({ $0.value >= 0 }) ?? true {
            let first = low.flatMap { $0.value < 0 ? nil : $0.decimal }
            parts.append(DecimalBounds.numbers(first, high?.decimal))
        }
        if low.map({ $0.value < 0 }) ?? true {
            // The same numbers without their sign, the bounds exchanged
            let first = high.flatMap { $0.value > 0 ? nil : $0.decimal }
            parts.append(JSON.sequence(.text("-"), DecimalBounds.numbers(first, low?.decimal)))
        }
        return .alternatives(parts)
    }

    private struct NumberBound {
        var value: Double
        var isExclusive: Bool
        var decimal: DecimalBounds.Bound
    }

    /// The narrower of a bound and an exclusive one.
    private func bound(
        _ inclusive: String, _ exclusive: String, _ constraints: JSONObject, at path: String,
        isNarrower: (Double, Double) -> Bool
    ) throws(MoruError) -> NumberBound? {
        var result: NumberBound?
        for (key, isExclusive) in [(inclusive, false), (exclusive, true)] {
            guard let given = constraints[key] else { continue }
            guard let value = given.double else { throw malformed(path, "\(key) is \(given.kindName), not a number") }
            guard abs(value) < 1e15, let (whole, fraction) = Self.digits(of: abs(value)) else {
                throw unsupported(
                    path, "\(key) is \(given.text())",
                    "use bounds below 10^15 with at most \(DecimalBounds.maximumDigits) digits after the point")
            }
            guard result.map({ isNarrower(value, $0.value) || value == $0.value }) ?? true else { continue }
            result = NumberBound(
                value: value, isExclusive: isExclusive,
                decimal: DecimalBounds.Bound(whole: whole, fraction: fraction, isExclusive: isExclusive))
        }
        return result
    }

    private static func whole(_ value: Double, up: Bool, _ isExclusive: Bool) -> Int {
        let rounded = Int(value.rounded(up ? .up : .down))
        return isExclusive && Double(rounded) == value ? rounded + (up ? 1 : -1) : rounded
    }

    /// A number's digits before and after the point; nil for more of the latter than can be followed.
    private static func digits(of value: Double) -> (whole: Int, fraction: [UInt8])? {
        let parts = "\(value)".split(separator: "e")
        let mantissa = parts[0].split(separator: ".")
        var whole = mantissa[0].utf8.map { $0 - 48 }
        var fraction = mantissa.count > 1 ? mantissa[1].utf8.map { $0 - 48 } : []
        for _ in 0..<(parts.count > 1 ? max(0, -(Int(parts[1]) ?? 0)) : 0) {
            fraction.insert(whole.popLast() ?? 0, at: 0)
        }
        while fraction.last == 0 { fraction.removeLast() }
        guard fraction.count <= DecimalBounds.maximumDigits else { return nil }
        return (whole.reduce(0) { $0 * 10 + Int($1) }, fraction)
    }

    // MARK: - Arrays

    mutating func array(_ constraints: JSONObject, at path: String) throws(MoruError) -> Expression {
        var least = try count("minItems", constraints, at: path) ?? 0
        var most = try count("maxItems", constraints, at: path)
        if constraints["uniqueItems"] == true, most ?? 2 > 1 {
            throw unsupported(
                path, "uniqueItems cannot be guaranteed", "leave it out, and remove what occurs twice yourself")
        }
        let separator = JSON.sequence(JSON.space, .text(","), JSON.space)
        var first: [Expression] = []
        for (number, item) in (constraints["prefixItems"]?.array ?? []).enumerated() {
            first.append(rule(try expression(item, at: "\(path)/prefixItems/\(number)")))
        }
        let items = constraints["items"] ?? true
        if items.array != nil {
            throw unsupported(path, "items is a list", "use prefixItems, the name of a list of schemas since 2020-12")
        }
        if items == false { most = min(most ?? .max, first.count) }
        if let most, least > most { return .never }
        let item = items == true ? .rule(Shared.value) : rule(try expression(items, at: "\(path)/items"))
        guard !first.isEmpty else {
            return JSON.list("[", item, separator, "]", minimum: least, maximum: most)
        }
        // From the last place to the first: what may follow there
        first = Array(first.prefix(most ?? .max))
        least = max(0, least)
        var rest = Expression.repeated(
            JSON.sequence(separator, item), minimum: max(0, least - first.count), maximum: most.map { $0 - first.count }
        )
        for (place, expression) in first.enumerated().reversed() {
            let here = JSON.sequence(place == 0 ? .empty : separator, expression, rest)
            // A rule, since each stands within what comes before it
            rest = rule(place < least ? here : .optional(here))
        }
        return JSON.sequence(.text("["), JSON.space, rest, JSON.space, .text("]"))
    }

    // MARK: - Objects

    mutating func object(_ constraints: JSONObject, at path: String) throws(MoruError) -> Expression {
        let properties = constraints["properties"]?.object ?? JSONObject()
        let required = Set((constraints["required"]?.array ?? []).compactMap(\.string))
        let additional = constraints["additionalProperties"]
        let patterns = constraints["patternProperties"]?.object ?? JSONObject()
        var members: [(expression: Expression, isRequired: Bool)] = []
        for (name, schema) in properties.members {
            let value = rule(try expression(schema, at: "\(path)/properties/\(name)"))
            members.append((Self.member(name, value), required.contains(name)))
        }
        for name in required.sorted() where properties[name] == nil {
            guard patterns.isEmpty else {
                throw unsupported(path, "\"\(name)\" is required but not declared", "declare it under properties")
            }
            let value = try expression(additional ?? true, at: "\(path)/additionalProperties")
            members.append((Self.member(name, rule(value)), true))
        }
        let others = try self.others(constraints, declared: properties.keys + required, patterns, at: path)
        let (least, most) = (
            try count("minProperties", constraints, at: path) ?? 0, try count("maxProperties", constraints, at: path)
        )
        let separator = JSON.sequence(JSON.space, .text(","), JSON.space)
        if members.isEmpty, let others {
            // Keys may repeat, so that only one of them is certain to count
            guard least <= 1 else {
                throw unsupported(path, "minProperties \(least) of properties that are not declared", "declare them")
            }
            return JSON.list("{", others, separator, "}", minimum: least, maximum: most)
        }
        guard least <= members.count(where: \.isRequired), others == nil && most ?? .max >= members.count || most == nil
        else {
            throw unsupported(
                path, "minProperties or maxProperties beside optional properties", "make properties required instead")
        }
        return body(members, others, separator)
    }

    private static func member(_ name: String, _ value: Expression) -> Expression {
        JSON.sequence(.text(JSON.string(name).text()), JSON.colon, value)
    }

    /// An object of declared members in their order, and others after them.
    private mutating func body(
        _ members: [(expression: Expression, isRequired: Bool)], _ others: Expression?, _ separator: Expression
    ) -> Expression {
        // From the end to the beginning: what may follow after a member, and where none has come before
        var after = others.map { .repeated(JSON.sequence(separator, $0), minimum: 0, maximum: nil) } ?? Expression.empty
        var atFirst = others.map { .optional(JSON.sequence($0, after)) } ?? Expression.empty
        for member in members.reversed() {
            let (continued, begun) = (
                JSON.sequence(separator, member.expression, after), JSON.sequence(member.expression, after)
            )
            // Rules, since each stands in two places of what comes before it
            (after, atFirst) =
                member.isRequired
                ? (rule(continued), rule(begun))
                : (rule(.alternatives([continued, after])), rule(.alternatives([begun, atFirst])))
        }
        return JSON.sequence(.text("{"), JSON.space, atFirst, JSON.space, .text("}"))
    }

    /// A member that is not declared; nil where there is to be none.
    private mutating func others(
        _ constraints: JSONObject, declared: [String], _ patterns: JSONObject, at path: String
    ) throws(MoruError) -> Expression? {
        if let pattern = patterns.keys.first, let schema = patterns[pattern] {
            guard patterns.count == 1, declared.isEmpty, constraints["additionalProperties"]?.object == nil else {
                throw unsupported(
                    path, "patternProperties beside other properties",
                    "declare the properties, or use one pattern alone")
            }
            let reader = RegexExpressions(pattern: pattern, character: JSON.character)
            let key: Expression
            do { key = rule(try reader.expression(matchesWhole: false)) } catch {
                throw error.within("JSON schema, \(path)/patternProperties")
            }
            let value = rule(try expression(schema, at: "\(path)/patternProperties/\(pattern)"))
            return JSON.sequence(.text("\""), key, .text("\""), JSON.colon, value)
        }
        let additional = constraints["additionalProperties"] ?? JSON.bool(declared.isEmpty)
        guard additional != false else { return nil }
        let value = rule(try expression(additional, at: "\(path)/additionalProperties"))
        let key = declared.isEmpty ? Expression.rule(Shared.string) : try key(except: declared, at: path)
        return JSON.sequence(key, JSON.colon, value)
    }

    /// A string that is none of some, and is written without escapes.
    private mutating func key(except names: [String], at path: String) throws(MoruError) -> Expression {
        // A scalar of a name becomes a rule
        try spend(10 * names.reduce(0) { $0 + $1.utf8.count }, at: path)
        let plain = ScalarRanges.all.subtracting(ScalarRanges([0...0x1F, 0x22...0x22, 0x5C...0x5C]))
        // The names as a tree, whose nodes stand after those that they hang on
        var nodes: [(next: [Unicode.Scalar: Int], ends: Bool)] = [([:], false)]
        for name in names {
            var place = 0
            for scalar in name.unicodeScalars {
                if let known = nodes[place].next[scalar] {
                    place = known
                } else {
                    nodes[place].next[scalar] = nodes.count
                    place = nodes.count
                    nodes.append(([:], false))
                }
            }
            nodes[place].ends = true
        }
        let anything = Expression.repeated(.scalars(plain), minimum: 0, maximum: nil)
        // From the ends to the beginning: a rule each, since names may be long
        var tails = [Expression](repeating: .empty, count: nodes.count)
        for (place, node) in nodes.enumerated().reversed() {
            let free = plain.subtracting(ScalarRanges(node.next.keys.map { $0.value...$0.value }))
            var parts = [JSON.sequence(.scalars(free), anything)]
            if !node.ends { parts.append(.empty) }
            for (scalar, next) in node.next.sorted(by: { $0.key < $1.key }) where plain.contains(scalar.value) {
                parts.append(JSON.sequence(.scalars(ScalarRanges(scalar)), tails[next]))
            }
            tails[place] = rule(.alternatives(parts))
        }
        return rule(JSON.sequence(.text("\""), tails[0], .text("\"")))
    }
}
