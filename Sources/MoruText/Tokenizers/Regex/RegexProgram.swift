import MoruBase

/// A compiled regular expression that runs over UTF-8 bytes with an explicit stack, so that no text can overflow
/// the call stack. It backtracks; where that takes too long, a ``RegexTable`` finds the same matches (``RegexSearch``).
struct RegexProgram: Sendable {
    enum Instruction: Sendable {
        case set(ScalarSet)
        /// A run of one set: the common case, without an instruction a scalar.
        case loop(ScalarSet, minimum: Int, maximum: Int, possessive: Bool)
        case split(Int, Int)
        case jump(Int)
        case atomic(end: Int, mayBeEmpty: Bool)
        case lookahead(end: Int, negated: Bool)
        case lookbehind(ScalarSet, negated: Bool)
        case startOfText
        case endOfText
        case accept
    }

    /// Where to go on when the current path fails: a place, or (with `floor`) a run that may give back.
    private struct Retry {
        var instruction: Int
        var position: Int
        var floor: Int
    }

    private static let maximumStates = 20_000
    /// Each takes four bytes for each byte of a text in a ``RegexTable``.
    private static let maximumAtomicGroups = 32

    /// The text of the pattern.
    let pattern: String
    private(set) var program: [Instruction] = []
    /// In how many states a match may be: an instruction is one, a bounded run one for each count.
    private(set) var stateCount = 0
    private var atomicCount = 0

    /// Compiles a pattern.
    ///
    /// - Throws: ``MoruError/Code/tokenizerUnsupported`` naming the construct Moru does not have.
    init(_ pattern: String) throws(MoruError) {
        self.pattern = pattern
        try compile(try RegexParser.parse(pattern))
        try emit(.accept)
    }

    private mutating func emit(_ instruction: Instruction) throws(MoruError) {
        stateCount += instruction.stateCount
        if case .atomic = instruction { atomicCount += 1 }
        if stateCount > Self.maximumStates || atomicCount > Self.maximumAtomicGroups {
            throw MoruError(
                .tokenizerUnsupported, "regular expression \"\(pattern.prefix(200))\" is too large",
                remedy: "use smaller counts and fewer groups: a pattern may have \(Self.maximumStates) states and "
                    + "\(Self.maximumAtomicGroups) atomic or possessive groups")
        }
        program.append(instruction)
    }

    private mutating func compile(_ node: RegexNode) throws(MoruError) {
        switch node {
        case .set(let set): try emit(.set(set))
        case .sequence(let nodes): for node in nodes { try compile(node) }
        case .alternatives(let nodes): try compile(alternatives: nodes)
        case .repeated(let node, let minimum, let maximum, let greed):
            try compile(repeated: node, minimum, maximum, greed)
        case .atomic(let node): try compile(atomic: node)
        case .lookahead(let node, let negated):
            try compile(enclosed: node) { .lookahead(end: $0, negated: negated) }
        case .lookbehind(let set, let negated): try emit(.lookbehind(set, negated: negated))
        case .startOfText: try emit(.startOfText)
        case .endOfText: try emit(.endOfText)
        }
    }

    private mutating func compile(alternatives nodes: [RegexNode]) throws(MoruError) {
        var jumps: [Int] = []
        for (index, node) in nodes.enumerated() {
            if index + 1 == nodes.count {
                try compile(node)
                continue
            }
            let split = program.count
            try emit(.split(split + 1, 0))
            try compile(node)
            jumps.append(program.count)
            try emit(.jump(0))
            program[split] = .split(split + 1, program.count)
        }
        for jump in jumps { program[jump] = .jump(program.count) }
    }

    private mutating func compile(
        repeated node: RegexNode, _ minimum: Int, _ maximum: Int?, _ greed: RegexNode.Greed
    ) throws(MoruError) {
        if case .set(let set) = node, greed != .lazy {
            try emit(
                .loop(set, minimum: minimum, maximum: maximum ?? Int.max, possessive: greed == .possessive))
            return
        }
        if greed == .possessive {
            try compile(atomic: .repeated(node, minimum: minimum, maximum: maximum, .greedy))
            return
        }
        for _ in 0..<minimum { try compile(node) }
        func branch(_ body: Int, _ exit: Int) -> Instruction {
            greed == .lazy ? .split(exit, body) : .split(body, exit)
        }
        guard let maximum else {
            let split = program.count
            try emit(.split(0, 0))
            try compile(node)
            try emit(.jump(split))
            program[split] = branch(split + 1, program.count)
            return
        }
        var splits: [Int] = []
        for _ in minimum..<max(minimum, maximum) {
            splits.append(program.count)
            try emit(.split(0, 0))
            try compile(node)
        }
        for split in splits { program[split] = branch(split + 1, program.count) }
    }

    private mutating func compile(atomic node: RegexNode) throws(MoruError) {
        let mayBeEmpty = node.matchesEmpty
        try compile(enclosed: node) { .atomic(end: $0, mayBeEmpty: mayBeEmpty) }
    }

    private mutating func compile(
        enclosed node: RegexNode, _ instruction: (Int) -> Instruction
    ) throws(MoruError) {
        let start = program.count
        try emit(instruction(0))
        try compile(node)
        try emit(.accept)
        program[start] = instruction(program.count)
    }

    /// The end of the match that starts exactly at `position`, or nil.
    ///
    /// - Parameters:
    ///   - start: Where the text begins, for look-behind and anchors.
    ///   - steps: How many steps the attempt may take; what is left of them, below zero where they did not suffice.
    func match(
        _ bytes: UnsafePointer<UInt8>, _ start: Int, _ end: Int, at position: Int, steps: inout Int
    ) -> Int? {
        run(from: 0, bytes, start, end, position, &steps)
    }

    private func run(
        from entry: Int, _ bytes: UnsafePointer<UInt8>, _ start: Int, _ end: Int, _ origin: Int, _ steps: inout Int
    ) -> Int? {
        var retries: [Retry] = []
        var instruction = entry
        var position = origin
        while true {
            steps -= 1
            if steps < 0 { return nil }
            var failed = false
            switch program[instruction] {
            case .accept: return position
            case .set(let set):
                if position < end {
                    let (value, length) = decodeScalar(bytes, position, end)
                    if set.contains(value) { position += length } else { failed = true }
                } else {
                    failed = true
                }
                instruction += 1
            case .loop(let set, let minimum, let maximum, let possessive):
                var count = 0
                var floor = position
                while count < maximum, position < end {
                    let (value, length) = decodeScalar(bytes, position, end)
                    if !set.contains(value) { break }
                    position += length
                    count += 1
                    if count == minimum { floor = position }
                }
                instruction += 1
                steps -= count
                if count < minimum {
                    failed = true
                } else if !possessive, position > floor {
                    retries.append(Retry(instruction: instruction, position: position, floor: floor))
                }
            case .split(let first, let second):
                retries.append(Retry(instruction: second, position: position, floor: -1))
                instruction = first
            case .jump(let target): instruction = target
            case .atomic(let exit, _):
                if let stop = run(from: instruction + 1, bytes, start, end, position, &steps) {
                    position = stop
                    instruction = exit
                } else if steps < 0 {
                    return nil
                } else {
                    failed = true
                }
            case .lookahead(let exit, let negated):
                let found = run(from: instruction + 1, bytes, start, end, position, &steps) != nil
                if steps < 0 { return nil }
                failed = found == negated
                instruction = exit
            case .lookbehind(let set, let negated):
                var found = false
                if position > start {
                    let before = scalarStart(before: position, bytes, from: start)
                    found = set.contains(decodeScalar(bytes, before, position).value)
                }
                failed = found == negated
                instruction += 1
            case .startOfText:
                failed = position != start
                instruction += 1
            case .endOfText:
                failed = position != end
                instruction += 1
            }
            guard failed else { continue }
            guard var retry = retries.popLast() else { return nil }
            if retry.floor >= 0 {
                retry.position = scalarStart(before: retry.position, bytes, from: retry.floor)
                if retry.position > retry.floor { retries.append(retry) }
            }
            instruction = retry.instruction
            position = retry.position
        }
    }
}

extension RegexProgram.Instruction {
    /// In how many states a match may be here.
    var stateCount: Int {
        // Beyond the minimum, an unbounded run need not count
        if case .loop(_, let minimum, let maximum, _) = self { (maximum == Int.max ? minimum : maximum) + 1 } else { 1 }
    }
}
