/// A parsed template. Names are interned: a symbol is a position in `symbols`.
struct JinjaSyntax: Sendable {
    let body: [JinjaNode]
    let symbols: [String]
    /// Whether a `{% generation %}` block occurs anywhere.
    let hasGeneration: Bool
}

/// A statement or a piece of text.
indirect enum JinjaNode: Sendable {
    case text(String)
    case output(JinjaExpression, line: Int)
    case branches([JinjaBranch], otherwise: [JinjaNode])
    case loop(JinjaLoopSyntax)
    case set(JinjaTarget, JinjaExpression, line: Int)
    case setBlock(JinjaTarget, filters: [JinjaPostfix], body: [JinjaNode], line: Int)
    case macro(JinjaMacroSyntax)
    case callBlock(caller: JinjaMacroSyntax, call: JinjaExpression, line: Int)
    case filterBlock([JinjaPostfix], body: [JinjaNode], line: Int)
    case with([(target: JinjaTarget, value: JinjaExpression)], body: [JinjaNode], line: Int)
    case generation(body: [JinjaNode])
    case breakLoop
    case continueLoop
}

/// One `if` or `elif`.
struct JinjaBranch: Sendable {
    let test: JinjaExpression
    let body: [JinjaNode]
    let line: Int
}

/// A `for` loop.
final class JinjaLoopSyntax: Sendable {
    let target: JinjaTarget
    let iterable: JinjaExpression
    let test: JinjaExpression?
    let isRecursive: Bool
    let body: [JinjaNode]
    let otherwise: [JinjaNode]
    let line: Int

    init(
        target: JinjaTarget, iterable: JinjaExpression, test: JinjaExpression?, isRecursive: Bool,
        body: [JinjaNode], otherwise: [JinjaNode], line: Int
    ) {
        self.target = target
        self.iterable = iterable
        self.test = test
        self.isRecursive = isRecursive
        self.body = body
        self.otherwise = otherwise
        self.line = line
    }
}

/// A macro, or the body of a `call` block.
final class JinjaMacroSyntax: Sendable {
    struct Parameter: Sendable {
        let symbol: Int
        let fallback: JinjaExpression?
    }

    let name: String
    let symbol: Int
    let parameters: [Parameter]
    let body: [JinjaNode]
    let line: Int
    /// Whether the body names `varargs`, `kwargs` or `caller`; a macro takes surplus arguments only then.
    let usesVarargs: Bool
    let usesKwargs: Bool
    let usesCaller: Bool

    init(
        name: String, symbol: Int, parameters: [Parameter], body: [JinjaNode], line: Int,
        usesVarargs: Bool, usesKwargs: Bool, usesCaller: Bool
    ) {
        self.name = name
        self.symbol = symbol
        self.parameters = parameters
        self.body = body
        self.line = line
        self.usesVarargs = usesVarargs
        self.usesKwargs = usesKwargs
        self.usesCaller = usesCaller
    }
}

/// What `set`, `for` and `with` assign to.
indirect enum JinjaTarget: Sendable {
    case name(Int)
    case attribute(Int, String)
    case tuple([JinjaTarget])
}

/// An expression. Chains of operators are flat, so that a long chain is not a deep tree.
indirect enum JinjaExpression: Sendable {
    case none
    case bool(Bool)
    case int(Int)
    case double(Double)
    case string(String)
    case name(Int)
    case list([JinjaExpression])
    case tuple([JinjaExpression])
    case dict([(key: JinjaExpression, value: JinjaExpression)])
    case conditional(test: JinjaExpression, then: JinjaExpression, otherwise: JinjaExpression?, line: Int)
    case or([JinjaExpression])
    case and([JinjaExpression])
    case not(JinjaExpression)
    case compare(JinjaExpression, [(operation: JinjaComparison, operand: JinjaExpression)])
    case arithmetic(JinjaExpression, [(operation: JinjaOperator, operand: JinjaExpression)])
    case concatenate([JinjaExpression])
    case negative(JinjaExpression)
    case positive(JinjaExpression)
    case postfix(JinjaExpression, [JinjaPostfix])
}

/// A comparison operator.
enum JinjaComparison: String, Sendable {
    case equal = "=="
    case notEqual = "!="
    case less = "<"
    case lessOrEqual = "<="
    case greater = ">"
    case greaterOrEqual = ">="
    case contained = "in"
    case notContained = "not in"
}

/// An arithmetic operator.
enum JinjaOperator: String, Sendable {
    case add = "+"
    case subtract = "-"
    case multiply = "*"
    case divide = "/"
    case floorDivide = "//"
    case modulo = "%"
    case power = "**"
}

/// What may follow an operand: `.name`, `[item]`, `[a:b:c]`, `(arguments)`, `|filter`, `is test`.
enum JinjaPostfix: Sendable {
    case attribute(String)
    case item(JinjaExpression)
    case slice(JinjaExpression?, JinjaExpression?, JinjaExpression?)
    case call(JinjaCallArguments, line: Int)
    case filter(String, JinjaCallArguments, line: Int)
    case test(String, JinjaCallArguments, negated: Bool, line: Int)
}

/// The arguments of a call as written.
struct JinjaCallArguments: Sendable {
    var positional: [JinjaExpression] = []
    var named: [(name: String, value: JinjaExpression)] = []
    /// The operand of `*`.
    var unpacked: JinjaExpression?
    /// The operand of `**`.
    var unpackedNamed: JinjaExpression?
}
