extension JinjaParser {
    /// An expression, or several with commas between them as a tuple.
    ///
    /// - Parameter endsAt: A name that ends the tuple, besides the usual ends.
    mutating func parseTuple(
        allowsConditional: Bool = true, endsAt end: String? = nil, inParentheses: Bool = false
    ) throws(JinjaError) -> JinjaExpression {
        var items: [JinjaExpression] = []
        var isTuple = false
        while !isTupleEnd(end) {
            items.append(allowsConditional ? try parseExpression() : try parseOr())
            guard skip(symbol: ",") else { break }
            isTuple = true
        }
        if isTuple { return .tuple(items) }
        if let item = items.first { return item }
        guard inParentheses else { throw unexpected("an expression") }
        return .tuple([])
    }

    private func isTupleEnd(_ end: String?) -> Bool {
        switch current.kind {
        case .blockEnd, .variableEnd: true
        case .name: end == current.text
        default: current.isSymbol(")")
        }
    }

    /// An expression with `if` and `else`.
    mutating func parseExpression() throws(JinjaError) -> JinjaExpression {
        try enter()
        defer { leave() }
        var expression = try parseOr()
        var chained = 0
        while current.isName("if") {
            let line = current.line
            advance()
            let test = try parseOr()
            var otherwise: JinjaExpression?
            if skip(name: "else") { otherwise = try parseExpression() }
            expression = .conditional(test: test, then: expression, otherwise: otherwise, line: line)
            chained += 1
            guard chained <= 4 else {
                throw JinjaError("too many 'if' without 'else' in one expression", kind: .syntax, line: line)
            }
        }
        return expression
    }

    mutating func parseOr() throws(JinjaError) -> JinjaExpression {
        let first = try parseAnd()
        guard current.isName("or") else { return first }
        var operands = [first]
        while skip(name: "or") { operands.append(try parseAnd()) }
        return .or(operands)
    }

    private mutating func parseAnd() throws(JinjaError) -> JinjaExpression {
        let first = try parseNot()
        guard current.isName("and") else { return first }
        var operands = [first]
        while skip(name: "and") { operands.append(try parseNot()) }
        return .and(operands)
    }

    private mutating func parseNot() throws(JinjaError) -> JinjaExpression {
        guard skip(name: "not") else { return try parseComparison() }
        try enter()
        defer { leave() }
        return .not(try parseNot())
    }

    private mutating func parseComparison() throws(JinjaError) -> JinjaExpression {
        let first = try parseSum()
        var rest: [(operation: JinjaComparison, operand: JinjaExpression)] = []
        while let comparison = nextComparison() { rest.append((comparison, try parseSum())) }
        return rest.isEmpty ? first : .compare(first, rest)
    }

    private mutating func nextComparison() -> JinjaComparison? {
        if current.isName("not"), next.isName("in") {
            advance()
            advance()
            return .notContained
        }
        guard current.kind == .symbol || current.isName("in"),
            let comparison = JinjaComparison(rawValue: current.text)
        else { return nil }
        advance()
        return comparison
    }

    private mutating func parseSum() throws(JinjaError) -> JinjaExpression {
        let first = try parseConcatenation()
        var rest: [(operation: JinjaOperator, operand: JinjaExpression)] = []
        while current.isSymbol("+") || current.isSymbol("-") {
            let operation: JinjaOperator = current.text == "+" ? .add : .subtract
            advance()
            rest.append((operation, try parseConcatenation()))
        }
        return rest.isEmpty ? first : .arithmetic(first, rest)
    }

    private mutating func parseConcatenation() throws(JinjaError) -> JinjaExpression {
        let first = try parseProduct()
        guard current.isSymbol("~") else { return first }
        var operands = [first]
        while skip(symbol: "~") { operands.append(try parseProduct()) }
        return .concatenate(operands)
    }

    private mutating func parseProduct() throws(JinjaError) -> JinjaExpression {
        let first = try parsePower()
        var rest: [(operation: JinjaOperator, operand: JinjaExpression)] = []
        while current.kind == .symbol, ["*", "/", "//", "%"].contains(current.text),
            let operation = JinjaOperator(rawValue: current.text)
        {
            advance()
            rest.append((operation, try parsePower()))
        }
        return rest.isEmpty ? first : .arithmetic(first, rest)
    }

    private mutating func parsePower() throws(JinjaError) -> JinjaExpression {
        let first = try parseUnary(takesFilters: true)
        var rest: [(operation: JinjaOperator, operand: JinjaExpression)] = []
        while skip(symbol: "**") { rest.append((.power, try parseUnary(takesFilters: true))) }
        return rest.isEmpty ? first : .arithmetic(first, rest)
    }

    private mutating func parseUnary(takesFilters: Bool) throws(JinjaError) -> JinjaExpression {
        var base: JinjaExpression
        if current.isSymbol("-") || current.isSymbol("+") {
            let isNegative = current.text == "-"
            advance()
            try enter()
            defer { leave() }
            let operand = try parseUnary(takesFilters: false)
            base = isNegative ? .negative(operand) : .positive(operand)
        } else {
            base = try parsePrimary()
        }
        var operations: [JinjaPostfix] = []
        while let operation = try parsePostfix() { operations.append(operation) }
        if takesFilters {
            while let operation = try parseFilterOrTest() { operations.append(operation) }
        }
        if !operations.isEmpty { base = .postfix(base, operations) }
        return base
    }

    // MARK: Operands

    private mutating func parsePrimary() throws(JinjaError) -> JinjaExpression {
        let token = current
        switch token.kind {
        case .name:
            advance()
            switch token.text {
            case "true", "True": return .bool(true)
            case "false", "False": return .bool(false)
            case "none", "None": return .none
            default: return .name(intern(token.text))
            }
        case .string:
            var text = ""
            while current.kind == .string {
                text += current.text
                advance()
            }
            return .string(text)
        case .integer:
            advance()
            return .int(token.integer)
        case .float:
            advance()
            return .double(token.double)
        case .symbol where token.text == "(":
            advance()
            try enter()
            defer { leave() }
            let tuple = try parseTuple(inParentheses: true)
            try expect(symbol: ")")
            return tuple
        case .symbol where token.text == "[": return .list(try parseItems())
        case .symbol where token.text == "{": return try parseDict()
        default: throw unexpected("an expression")
        }
    }

    private mutating func parseItems() throws(JinjaError) -> [JinjaExpression] {
        try expect(symbol: "[")
        var items: [JinjaExpression] = []
        while !current.isSymbol("]") {
            items.append(try parseExpression())
            if !current.isSymbol("]") { try expect(symbol: ",") }
        }
        try expect(symbol: "]")
        return items
    }

    private mutating func parseDict() throws(JinjaError) -> JinjaExpression {
        try expect(symbol: "{")
        var members: [(key: JinjaExpression, value: JinjaExpression)] = []
        while !current.isSymbol("}") {
            let key = try parseExpression()
            try expect(symbol: ":")
            members.append((key, try parseExpression()))
            if !current.isSymbol("}") { try expect(symbol: ",") }
        }
        try expect(symbol: "}")
        return .dict(members)
    }

    // MARK: After operands

    private mutating func parsePostfix() throws(JinjaError) -> JinjaPostfix? {
        if skip(symbol: ".") {
            switch current.kind {
            case .name: return .attribute(try expectName())
            case .integer:
                defer { advance() }
                return .item(.int(current.integer))
            default: throw unexpected("a name or number after '.'")
            }
        }
        if current.isSymbol("[") { return try parseSubscript() }
        if current.isSymbol("(") {
            let line = current.line
            return .call(try parseArguments(), line: line)
        }
        return nil
    }

    private mutating func parseFilterOrTest() throws(JinjaError) -> JinjaPostfix? {
        if skip(symbol: "|") { return try parseFilter() }
        if skip(name: "is") { return try parseTest() }
        if current.isSymbol("(") {
            let line = current.line
            return .call(try parseArguments(), line: line)
        }
        return nil
    }

    private mutating func parseSubscript() throws(JinjaError) -> JinjaPostfix {
        let line = current.line
        try expect(symbol: "[")
        var items: [JinjaExpression] = []
        var slice: JinjaPostfix?
        while !current.isSymbol("]") {
            if !items.isEmpty || slice != nil { try expect(symbol: ",") }
            var bounds: [JinjaExpression?] = []
            while bounds.count < 3 {
                var bound: JinjaExpression?
                if !current.isSymbol(":"), !current.isSymbol("]"), !current.isSymbol(",") {
                    bound = try parseExpression()
                }
                bounds.append(bound)
                guard bounds.count < 3, skip(symbol: ":") else { break }
            }
            if bounds.count == 1 {
                guard let item = bounds[0] else { throw unexpected("an index") }
                items.append(item)
            } else {
                slice = .slice(bounds[0], bounds[1], bounds.count > 2 ? bounds[2] : nil)
            }
        }
        try expect(symbol: "]")
        if let slice {
            guard items.isEmpty else {
                throw JinjaError("a slice cannot stand beside another index", kind: .syntax, line: line)
            }
            return slice
        }
        guard items.count == 1, let item = items.first else { return .item(.tuple(items)) }
        return .item(item)
    }

    mutating func parseFilters() throws(JinjaError) -> [JinjaPostfix] {
        var filters: [JinjaPostfix] = []
        while skip(symbol: "|") { filters.append(try parseFilter()) }
        return filters
    }

    /// A filter, its `|` already taken.
    mutating func parseFilter() throws(JinjaError) -> JinjaPostfix {
        let line = current.line
        let name = try parseDottedName()
        let arguments = current.isSymbol("(") ? try parseArguments() : JinjaCallArguments()
        return .filter(name, arguments, line: line)
    }

    private mutating func parseDottedName() throws(JinjaError) -> String {
        var name = try expectName()
        while skip(symbol: ".") { name += "." + (try expectName()) }
        return name
    }

    private mutating func parseTest() throws(JinjaError) -> JinjaPostfix {
        let line = current.line
        let negated = skip(name: "not")
        let name = try parseDottedName()
        var arguments = JinjaCallArguments()
        if current.isSymbol("(") {
            arguments = try parseArguments()
        } else if startsTestArgument {
            if current.isName("is") {
                throw JinjaError("tests cannot be chained with 'is'", kind: .syntax, line: current.line)
            }
            try enter()
            defer { leave() }
            let base = try parsePrimary()
            var operations: [JinjaPostfix] = []
            while let operation = try parsePostfix() { operations.append(operation) }
            arguments.positional = [operations.isEmpty ? base : .postfix(base, operations)]
        }
        return .test(name, arguments, negated: negated, line: line)
    }

    private var startsTestArgument: Bool {
        switch current.kind {
        case .name: !["else", "or", "and"].contains(current.text)
        case .string, .integer, .float: true
        case .symbol: current.text == "[" || current.text == "{"
        default: false
        }
    }

    private mutating func parseArguments() throws(JinjaError) -> JinjaCallArguments {
        let line = current.line
        var arguments = JinjaCallArguments()
        func check(_ allowed: Bool) throws(JinjaError) {
            guard allowed else { throw JinjaError("arguments in a wrong order", kind: .syntax, line: line) }
        }
        try expect(symbol: "(")
        while !current.isSymbol(")") {
            let isPlain = arguments.unpacked == nil && arguments.unpackedNamed == nil
            if skip(symbol: "*") {
                try check(isPlain)
                arguments.unpacked = try parseExpression()
            } else if skip(symbol: "**") {
                try check(arguments.unpackedNamed == nil)
                arguments.unpackedNamed = try parseExpression()
            } else if current.kind == .name, next.isSymbol("=") {
                try check(arguments.unpackedNamed == nil)
                let name = try expectName()
                advance()
                try check(!arguments.named.contains { $0.name == name })
                arguments.named.append((name, try parseExpression()))
            } else {
                try check(isPlain && arguments.named.isEmpty)
                arguments.positional.append(try parseExpression())
            }
            if !current.isSymbol(")") { try expect(symbol: ",") }
        }
        try expect(symbol: ")")
        return arguments
    }
}
