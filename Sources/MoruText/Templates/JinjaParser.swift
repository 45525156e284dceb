/// Parses the statements of a template; expressions are in `JinjaParser+Expressions.swift`.
struct JinjaParser {
    private let tokens: [JinjaToken]
    private var position = 0
    private var symbols: [String] = []
    private var symbolOfName: [String: Int] = [:]
    private var hasGeneration = false
    private var loopDepth = 0
    private var depth = 0
    /// Names used so far in each macro body being parsed.
    private var usedNames: [Set<String>] = []

    /// Deeper nesting of statements and expressions than this is refused, since each level costs stack.
    static let maximumDepth = 80

    private init(tokens: [JinjaToken]) { self.tokens = tokens }

    /// Parses a template.
    static func parse(_ source: String) throws(JinjaError) -> JinjaSyntax {
        var parser = JinjaParser(tokens: try JinjaLexer.tokens(of: source))
        let body = try parser.parseBody(until: [], of: nil)
        return JinjaSyntax(body: body, symbols: parser.symbols, hasGeneration: parser.hasGeneration)
    }

    // MARK: Tokens

    var current: JinjaToken { tokens[position] }
    var next: JinjaToken { tokens[min(position + 1, tokens.count - 1)] }

    mutating func advance() { if position < tokens.count - 1 { position += 1 } }

    mutating func skip(name: String) -> Bool {
        guard current.isName(name) else { return false }
        advance()
        return true
    }

    mutating func skip(symbol: String) -> Bool {
        guard current.isSymbol(symbol) else { return false }
        advance()
        return true
    }

    mutating func expect(symbol: String) throws(JinjaError) {
        guard skip(symbol: symbol) else { throw unexpected("'\(symbol)'") }
    }

    mutating func expect(name: String) throws(JinjaError) {
        guard skip(name: name) else { throw unexpected("'\(name)'") }
    }

    mutating func expectName() throws(JinjaError) -> String {
        guard current.kind == .name else { throw unexpected("a name") }
        defer { advance() }
        return current.text
    }

    private mutating func expectBlockEnd() throws(JinjaError) {
        guard current.kind == .blockEnd else { throw unexpected("'%}'") }
        advance()
    }

    func unexpected(_ expected: String) -> JinjaError {
        let found = current.kind == .end ? "unexpected end of template" : "unexpected '\(current.description)'"
        return JinjaError("\(found), expected \(expected)", kind: .syntax, line: current.line)
    }

    mutating func enter() throws(JinjaError) {
        depth += 1
        guard depth <= Self.maximumDepth else {
            throw JinjaError(
                "nested deeper than \(Self.maximumDepth) levels", kind: .syntax, line: current.line,
                remedy: "split the expression with {% set %}")
        }
    }

    mutating func leave() { depth -= 1 }

    mutating func intern(_ name: String, isUse: Bool = true) -> Int {
        if isUse, !usedNames.isEmpty { usedNames[usedNames.count - 1].insert(name) }
        if let symbol = symbolOfName[name] { return symbol }
        symbols.append(name)
        symbolOfName[name] = symbols.count - 1
        return symbols.count - 1
    }

    // MARK: Bodies

    /// Parses up to one of the `ends`, which becomes the current token; up to the end of the template without any.
    private mutating func parseBody(until ends: [String], of tag: JinjaToken?) throws(JinjaError) -> [JinjaNode] {
        try enter()
        defer { leave() }
        var nodes: [JinjaNode] = []
        while true {
            switch current.kind {
            case .data:
                nodes.append(.text(current.text))
                advance()
            case .variableBegin:
                let line = current.line
                advance()
                nodes.append(.output(try parseTuple(), line: line))
                guard current.kind == .variableEnd else { throw unexpected("'}}'") }
                advance()
            case .blockBegin:
                advance()
                if current.kind == .name, ends.contains(current.text) { return nodes }
                nodes.append(contentsOf: try parseStatement(ends: ends, within: tag))
                try expectBlockEnd()
            case .end:
                guard let tag else { return nodes }
                let expected = ends.map { "{% \($0) %}" }.joined(separator: " or ")
                throw JinjaError(
                    "unexpected end of template, expected \(expected) for '\(tag.text)' of line \(tag.line)",
                    kind: .syntax, line: current.line)
            default: throw unexpected("text or a tag")
            }
        }
    }

    /// Parses the body of a tag whose own expressions are done.
    private mutating func parseBlock(until ends: [String], of tag: JinjaToken) throws(JinjaError) -> [JinjaNode] {
        _ = skip(symbol: ":")
        try expectBlockEnd()
        return try parseBody(until: ends, of: tag)
    }

    private static let unsupportedTags: Set<String> = [
        "block", "extends", "include", "import", "from", "autoescape", "do", "trans", "debug",
    ]

    private mutating func parseStatement(ends: [String], within tag: JinjaToken?) throws(JinjaError) -> [JinjaNode] {
        let token = current
        guard token.kind == .name else { throw unexpected("the name of a tag") }
        advance()
        switch token.text {
        case "if": return [try parseIf(token)]
        case "for": return [try parseFor(token)]
        case "set": return [try parseSet(token)]
        case "macro": return [try parseMacro(token)]
        case "call": return [try parseCallBlock(token)]
        case "filter": return [try parseFilterBlock(token)]
        case "with": return [try parseWith(token)]
        case "print": return try parsePrint(token)
        case "generation":
            hasGeneration = true
            let body = try parseBlock(until: ["endgeneration"], of: token)
            advance()
            return [.generation(body: body)]
        case "break", "continue":
            guard loopDepth > 0 else {
                throw JinjaError("'\(token.text)' outside a loop", kind: .syntax, line: token.line)
            }
            return [token.text == "break" ? .breakLoop : .continueLoop]
        default: throw unknownTag(token, ends: ends, within: tag)
        }
    }

    private func unknownTag(_ token: JinjaToken, ends: [String], within tag: JinjaToken?) -> JinjaError {
        if Self.unsupportedTags.contains(token.text) {
            return JinjaError(
                "the tag '\(token.text)' is not supported in chat templates", kind: .syntax, line: token.line,
                remedy: "a chat template stands alone: write out what it would include")
        }
        var message = "unknown tag '\(token.text)'"
        if let tag {
            let expected = ends.map { "{% \($0) %}" }.joined(separator: " or ")
            message += ", expected \(expected) for '\(tag.text)' of line \(tag.line)"
        }
        return JinjaError(message, kind: .syntax, line: token.line)
    }

    // MARK: Statements

    private mutating func parseIf(_ token: JinjaToken) throws(JinjaError) -> JinjaNode {
        var branches: [JinjaBranch] = []
        var otherwise: [JinjaNode] = []
        while true {
            let line = current.line
            let test = try parseTuple(allowsConditional: false)
            let body = try parseBlock(until: ["elif", "else", "endif"], of: token)
            branches.append(JinjaBranch(test: test, body: body, line: line))
            let end = current.text
            advance()
            if end == "elif" { continue }
            if end == "else" {
                otherwise = try parseBlock(until: ["endif"], of: token)
                advance()
            }
            return .branches(branches, otherwise: otherwise)
        }
    }

    private mutating func parseFor(_ token: JinjaToken) throws(JinjaError) -> JinjaNode {
        let target = try parseTarget(endsAt: "in", allowsAttribute: false)
        try refuseLoop(target, line: token.line)
        try expect(name: "in")
        let iterable = try parseTuple(allowsConditional: false, endsAt: "recursive")
        var test: JinjaExpression?
        if skip(name: "if") { test = try parseExpression() }
        let isRecursive = skip(name: "recursive")
        loopDepth += 1
        let body = try parseBlock(until: ["endfor", "else"], of: token)
        loopDepth -= 1
        var otherwise: [JinjaNode] = []
        let end = current.text
        advance()
        if end == "else" {
            otherwise = try parseBlock(until: ["endfor"], of: token)
            advance()
        }
        return .loop(
            JinjaLoopSyntax(
                target: target, iterable: iterable, test: test, isRecursive: isRecursive, body: body,
                otherwise: otherwise, line: token.line))
    }

    private func refuseLoop(_ target: JinjaTarget, line: Int) throws(JinjaError) {
        switch target {
        case .name(let symbol) where symbols[symbol] == "loop":
            throw JinjaError("'loop' is the loop's own variable and cannot be assigned", kind: .syntax, line: line)
        case .tuple(let targets): for target in targets { try refuseLoop(target, line: line) }
        default: break
        }
    }

    private mutating func parseSet(_ token: JinjaToken) throws(JinjaError) -> JinjaNode {
        let target = try parseTarget(endsAt: nil, allowsAttribute: true)
        if skip(symbol: "=") { return .set(target, try parseTuple(), line: token.line) }
        let filters = try parseFilters()
        let body = try parseBlock(until: ["endset"], of: token)
        advance()
        return .setBlock(target, filters: filters, body: body, line: token.line)
    }

    private mutating func parseMacro(_ token: JinjaToken) throws(JinjaError) -> JinjaNode {
        let name = try expectName()
        let symbol = intern(name)
        return .macro(try parseMacroRest(name: name, symbol: symbol, token: token, hasSignature: true) { _ in nil }.0)
    }

    private mutating func parseCallBlock(_ token: JinjaToken) throws(JinjaError) -> JinjaNode {
        let symbol = intern("caller", isUse: false)
        let (caller, call) = try parseMacroRest(
            name: "caller", symbol: symbol, token: token, hasSignature: current.isSymbol("(")
        ) { (parser: inout JinjaParser) throws(JinjaError) -> JinjaExpression? in
            let call = try parser.parseExpression()
            guard case .postfix(_, let operations) = call, case .call? = operations.last else {
                throw JinjaError("expected a call after 'call'", kind: .syntax, line: token.line)
            }
            return call
        }
        return .callBlock(caller: caller, call: call ?? .none, line: token.line)
    }

    private mutating func parseMacroRest(
        name: String, symbol: Int, token: JinjaToken, hasSignature: Bool,
        header: (inout JinjaParser) throws(JinjaError) -> JinjaExpression?
    ) throws(JinjaError) -> (JinjaMacroSyntax, JinjaExpression?) {
        var parameters: [JinjaMacroSyntax.Parameter] = []
        if hasSignature { parameters = try parseSignature() }
        let call = try header(&self)
        usedNames.append([])
        let outerLoops = loopDepth
        loopDepth = 0
        let body = try parseBlock(until: [call == nil ? "endmacro" : "endcall"], of: token)
        loopDepth = outerLoops
        let used = usedNames.removeLast()
        if !usedNames.isEmpty { usedNames[usedNames.count - 1].formUnion(used) }
        advance()
        let parameterNames = Set(parameters.map { symbols[$0.symbol] })
        let free = used.subtracting(parameterNames)
        let macro = JinjaMacroSyntax(
            name: name, symbol: symbol, parameters: parameters, body: body, line: token.line,
            usesVarargs: free.contains("varargs"), usesKwargs: free.contains("kwargs"),
            usesCaller: free.contains("caller"))
        return (macro, call)
    }

    private mutating func parseSignature() throws(JinjaError) -> [JinjaMacroSyntax.Parameter] {
        var parameters: [JinjaMacroSyntax.Parameter] = []
        try expect(symbol: "(")
        while !current.isSymbol(")") {
            if !parameters.isEmpty { try expect(symbol: ",") }
            let line = current.line
            let symbol = intern(try expectName())
            var fallback: JinjaExpression?
            if skip(symbol: "=") {
                fallback = try parseExpression()
            } else if parameters.last?.fallback != nil {
                throw JinjaError("a parameter without default follows one with", kind: .syntax, line: line)
            }
            parameters.append(JinjaMacroSyntax.Parameter(symbol: symbol, fallback: fallback))
        }
        try expect(symbol: ")")
        return parameters
    }

    private mutating func parseFilterBlock(_ token: JinjaToken) throws(JinjaError) -> JinjaNode {
        var filters = [try parseFilter()]
        filters += try parseFilters()
        let body = try parseBlock(until: ["endfilter"], of: token)
        advance()
        return .filterBlock(filters, body: body, line: token.line)
    }

    private mutating func parseWith(_ token: JinjaToken) throws(JinjaError) -> JinjaNode {
        var assignments: [(target: JinjaTarget, value: JinjaExpression)] = []
        while current.kind != .blockEnd {
            if !assignments.isEmpty { try expect(symbol: ",") }
            let target = try parseTarget(endsAt: nil, allowsAttribute: false)
            try expect(symbol: "=")
            assignments.append((target, try parseExpression()))
        }
        let body = try parseBlock(until: ["endwith"], of: token)
        advance()
        return .with(assignments, body: body, line: token.line)
    }

    private mutating func parsePrint(_ token: JinjaToken) throws(JinjaError) -> [JinjaNode] {
        var nodes: [JinjaNode] = []
        while current.kind != .blockEnd {
            if !nodes.isEmpty { try expect(symbol: ",") }
            nodes.append(.output(try parseExpression(), line: token.line))
        }
        return nodes
    }

    // MARK: Targets

    private mutating func parseTarget(endsAt end: String?, allowsAttribute: Bool) throws(JinjaError) -> JinjaTarget {
        try enter()
        defer { leave() }
        var targets: [JinjaTarget] = []
        var isTuple = false
        while !isTargetEnd(end) {
            targets.append(try parseSingleTarget(allowsAttribute: allowsAttribute))
            guard skip(symbol: ",") else { break }
            isTuple = true
        }
        if isTuple { return .tuple(targets) }
        guard let target = targets.first else { throw unexpected("a name to assign to") }
        return target
    }

    private func isTargetEnd(_ end: String?) -> Bool {
        switch current.kind {
        case .blockEnd, .variableEnd: true
        case .name: end == current.text
        default: current.isSymbol(")") || current.isSymbol("=")
        }
    }

    private mutating func parseSingleTarget(allowsAttribute: Bool) throws(JinjaError) -> JinjaTarget {
        if skip(symbol: "(") {
            let target = try parseTarget(endsAt: nil, allowsAttribute: allowsAttribute)
            try expect(symbol: ")")
            return target
        }
        let line = current.line
        guard current.kind == .name else { throw unexpected("a name to assign to") }
        let name = try expectName()
        if ["true", "false", "none", "True", "False", "None"].contains(name) {
            throw JinjaError("cannot assign to '\(name)'", kind: .syntax, line: line)
        }
        let symbol = intern(name)
        guard allowsAttribute, skip(symbol: ".") else { return .name(symbol) }
        return .attribute(symbol, try expectName())
    }
}
