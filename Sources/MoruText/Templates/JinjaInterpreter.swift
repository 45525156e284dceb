import Foundation

/// Runs a parsed template once. Expressions are in `JinjaInterpreter+Expressions.swift`, calls in `+Calls.swift`.
final class JinjaInterpreter {
    /// How a run of statements ended.
    enum Flow {
        case normal
        case breakLoop
        case continueLoop
    }

    let syntax: JinjaSyntax
    let now: Date
    var budget = JinjaBudget()
    /// The line being run, for messages.
    var line = 1
    var scope = JinjaScope(parent: nil)
    private var variables: [JinjaValue?]
    private var output = ""
    /// How many captures (macros, set blocks...) enclose the statement being run.
    private var captureDepth = 0
    private var namespaces: [JinjaNamespace] = []
    private var heldScopes: [JinjaScope] = []

    /// Where `{% generation %}` blocks lie in the output, as UTF-8 offsets.
    private(set) var generationRanges: [Range<Int>] = []
    /// Whether a generation block was rendered into a captured text, so that its place in the output is unknown.
    private(set) var hasLostGeneration = false

    init(_ syntax: JinjaSyntax, variables: [(name: String, value: JinjaValue)], now: Date) {
        self.syntax = syntax
        self.now = now
        var named: [String: JinjaValue] = [:]
        for function in JinjaFunction.allCases { named[function.rawValue] = .function(function) }
        for (name, value) in variables { named[name] = value }
        self.variables = syntax.symbols.map { named[$0] }
    }

    /// Runs the template and returns its output.
    func run() throws(JinjaError) -> String {
        defer {
            for namespace in namespaces { namespace.clear() }
            for scope in heldScopes { scope.clear() }
        }
        _ = try execute(syntax.body)
        return output
    }

    /// Makes a namespace, which is emptied when the run ends so that none keeps itself alive.
    func makeNamespace() -> JinjaNamespace {
        let namespace = JinjaNamespace()
        namespaces.append(namespace)
        return namespace
    }

    /// A macro that sees the current scope.
    func makeMacro(_ macro: JinjaMacroSyntax) -> JinjaMacro {
        heldScopes.append(scope)
        return JinjaMacro(macro, scope: scope)
    }

    // MARK: Variables

    func lookUp(_ symbol: Int) -> JinjaValue {
        if let value = scope.get(symbol) ?? variables[symbol] { return value }
        return .missing("'\(syntax.symbols[symbol])' is undefined")
    }

    func assign(_ target: JinjaTarget, _ value: JinjaValue) throws(JinjaError) {
        switch target {
        case .name(let symbol): scope.set(symbol, value)
        case .attribute(let symbol, let name):
            guard case .namespace(let namespace) = lookUp(symbol) else {
                throw JinjaError(
                    "cannot assign the attribute '\(name)' of '\(syntax.symbols[symbol])': not a namespace",
                    remedy: "make it with {% set \(syntax.symbols[symbol]) = namespace() %}")
            }
            try namespace.set(name, value)
        case .tuple(let targets):
            let items = try iterate(value)
            guard items.count == targets.count else {
                let problem = items.count > targets.count ? "too many" : "not enough"
                throw JinjaError("\(problem) values to unpack: expected \(targets.count), got \(items.count)")
            }
            for (target, item) in zip(targets, items) { try assign(target, item) }
        }
    }

    /// Runs `body` with a scope of its own inside `parent`.
    func withScope<Result>(
        in parent: JinjaScope, _ body: () throws(JinjaError) -> Result
    ) throws(JinjaError) -> Result {
        let outer = scope
        scope = JinjaScope(parent: parent)
        defer { scope = outer }
        return try body()
    }

    /// Runs `body` and returns what it would have printed.
    func capture(_ body: () throws(JinjaError) -> Void) throws(JinjaError) -> String {
        let outer = output
        output = ""
        captureDepth += 1
        defer {
            output = outer
            captureDepth -= 1
        }
        try body()
        return output
    }

    // MARK: Statements

    func execute(_ nodes: [JinjaNode]) throws(JinjaError) -> Flow {
        try budget.enter()
        defer { budget.leave() }
        for node in nodes {
            try budget.step()
            let flow = try execute(node)
            if flow != .normal { return flow }
        }
        return .normal
    }

    /// A value as text, its cost counted.
    func text(of value: JinjaValue) throws(JinjaError) -> String {
        if case .string(let text) = value { return text }
        try budget.traverse(value)
        let text = try value.text()
        try budget.scan(text)
        try budget.allocate(text.utf8.count)
        return text
    }

    /// A value as Python's `repr` shows it, its cost counted.
    func repr(of value: JinjaValue) throws(JinjaError) -> String {
        try budget.traverse(value)
        let text = try value.repr()
        try budget.scan(text)
        try budget.allocate(text.utf8.count)
        return text
    }

    /// The elements of a value, their cost counted.
    func iterate(_ value: JinjaValue) throws(JinjaError) -> [JinjaValue] {
        let count = value.length ?? 0
        try budget.step(1 + count >> 3)
        try budget.allocate(count, times: MemoryLayout<JinjaValue>.stride)
        return try value.iterated()
    }

    private func write(_ text: String) throws(JinjaError) {
        try budget.allocate(text.utf8.count)
        output += text
    }

    private func execute(_ node: JinjaNode) throws(JinjaError) -> Flow {
        switch node {
        case .text(let text): try write(text)
        case .output(let expression, let line):
            self.line = line
            try write(try text(of: try evaluate(expression)))
        case .branches(let branches, let otherwise):
            for branch in branches {
                line = branch.line
                if try evaluate(branch.test).isTrue { return try execute(branch.body) }
            }
            return try execute(otherwise)
        case .loop(let loop):
            line = loop.line
            try runLoop(loop, over: try evaluate(loop.iterable), depth0: 0)
        case .set(let target, let expression, let line):
            self.line = line
            try assign(target, try evaluate(expression))
        case .setBlock(let target, let filters, let body, let line):
            let text = try captureScoped(body)
            self.line = line
            try assign(target, try apply(filters, to: .string(text)))
        case .macro(let macro): scope.set(macro.symbol, .macro(makeMacro(macro)))
        case .callBlock(let caller, let call, let line):
            self.line = line
            try write(try text(of: try evaluateCall(call, caller: .macro(makeMacro(caller)))))
        case .filterBlock(let filters, let body, let line):
            let text = try captureScoped(body)
            self.line = line
            try write(try self.text(of: try apply(filters, to: .string(text))))
        case .with(let assignments, let body, let line):
            self.line = line
            var values: [JinjaValue] = []
            for assignment in assignments { values.append(try evaluate(assignment.value)) }
            return try withScope(in: scope) { () throws(JinjaError) in
                for (assignment, value) in zip(assignments, values) { try assign(assignment.target, value) }
                return try execute(body)
            }
        case .generation(let body): return try runGeneration(body)
        case .breakLoop: return .breakLoop
        case .continueLoop: return .continueLoop
        }
        return .normal
    }

    private func captureScoped(_ body: [JinjaNode]) throws(JinjaError) -> String {
        try capture { () throws(JinjaError) in
            try withScope(in: scope) { () throws(JinjaError) in _ = try execute(body) }
        }
    }

    private func runGeneration(_ body: [JinjaNode]) throws(JinjaError) -> Flow {
        let start = output.utf8.count
        let flow = try withScope(in: scope) { () throws(JinjaError) in try execute(body) }
        if captureDepth == 0 {
            generationRanges.append(start..<output.utf8.count)
        } else {
            hasLostGeneration = true
        }
        return flow
    }

    // MARK: Loops

    /// Runs a loop over a value, printing where the loop stands.
    func runLoop(_ syntax: JinjaLoopSyntax, over value: JinjaValue, depth0: Int) throws(JinjaError) {
        var items = try iterate(value)
        if let test = syntax.test {
            var kept: [JinjaValue] = []
            for item in items {
                try budget.step()
                let isKept = try withScope(in: scope) { () throws(JinjaError) in
                    try assign(syntax.target, item)
                    return try evaluate(test).isTrue
                }
                if isKept { kept.append(item) }
            }
            items = kept
        }
        guard !items.isEmpty else {
            try withScope(in: scope) { () throws(JinjaError) in _ = try execute(syntax.otherwise) }
            return
        }
        let recursion = syntax.isRecursive ? (syntax: syntax, scope: scope) : nil
        let loop = JinjaLoop(items: items, depth0: depth0, recursion: recursion)
        let loopSymbol = self.loopSymbol
        for (position, item) in items.enumerated() {
            try budget.step()
            loop.index0 = position
            let flow = try withScope(in: scope) { () throws(JinjaError) in
                if let loopSymbol { scope.set(loopSymbol, .loop(loop)) }
                try assign(syntax.target, item)
                return try execute(syntax.body)
            }
            if flow == .breakLoop { break }
        }
    }

    /// The symbol of `loop`, if the template names it.
    private lazy var loopSymbol = syntax.symbols.firstIndex(of: "loop")
}
