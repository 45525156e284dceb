import MoruBase

/// A pushdown automaton over bytes that reads what a grammar allows, made deterministic as far as texts lead it.
///
/// A state is the set of all places in the grammar where the text read so far may be, each with the stack of rules to
/// return to. States, stacks and transitions are numbered when they are first met, so that a step is a table look-up
/// from then on.
struct GrammarAutomaton: Sendable {
    /// The state of a text that cannot be completed.
    static let dead: Int32 = -1
    private static let unknown: Int32 = -2
    /// The most places in a grammar; each takes about 40 bytes.
    private static let maximumNodes = 400_000
    /// The most places that a text may be at together; a grammar that can be read in more ways is not followed.
    private static let maximumPlaces = 400_000
    /// Beyond so many places and places to return to, in all states, the states are forgotten.
    private static let maximumHeld = 8_000_000
    /// Beyond so many states all of them are forgotten; a state takes about 100 bytes.
    private let maximumStates: Int

    /// A place in the grammar.
    enum Node: Hashable {
        /// Takes a byte.
        case bytes(ClosedRange<UInt8>, next: Int32)
        /// Goes on at any of some places.
        case split([Int32])
        /// Goes on at a rule's beginning, and from its end to a place.
        case call(rule: Int32, next: Int32)
        /// The end of a rule.
        case end
    }

    private(set) var nodes: [Node] = []
    private var interned: [Node: Int32] = [:]
    /// Where each rule begins.
    private(set) var starts: [Int32] = []
    /// The class of each byte; bytes of a class are alike everywhere in the grammar.
    private var classes = [UInt8](repeating: 0, count: 256)
    private var representatives: [UInt8] = []

    private struct Frame: Hashable {
        let next: Int32
        let parent: Int32
    }
    private var frames: [Frame] = []
    private var frameNumbers: [Frame: Int32] = [:]
    private var places: [[UInt64]] = []
    private var stateNumbers: [[UInt64]: Int32] = [:]
    private var accepting: [Bool] = []
    private var transitions: [Int32] = []
    /// How many places all states have.
    private var held = 0
    /// Grows with the time that has been spent on new transitions; a unit is some tens of nanoseconds.
    private(set) var work = 0

    /// Counts how often all states were forgotten: a state's number holds within one epoch.
    private(set) var epoch = 0
    /// The state before the first byte.
    private(set) var start: Int32 = 0

    /// Makes the automaton of a grammar.
    ///
    /// - Throws: ``MoruError/Code/grammarMalformed`` for a grammar that no text fits or a rule that begins with itself,
    ///   ``MoruError/Code/grammarTooLarge``.
    init(_ grammar: Grammar, maximumStates: Int = 100_000) throws(MoruError) {
        self.maximumStates = maximumStates
        let end = try add(.end)
        for _ in grammar.rules { starts.append(try reserve()) }
        for (number, rule) in grammar.rules.enumerated() {
            nodes[Int(starts[number])] = .split([try compile(rule, next: end)])
        }
        interned = [:]
        try leaveOutDeadEnds()
        try refuseLeftRecursion()
        makeClasses()
        guard let begin = closure([(starts[0], 0)]) else {
            throw MoruError(
                .grammarTooLarge, "a text may begin in more than \(Self.maximumPlaces) places of the grammar",
                remedy: "let fewer parts that follow each other be empty")
        }
        start = number(of: begin)
    }

    // MARK: - Reading

    /// The state after a byte; ``dead`` where no text goes on with it.
    mutating func step(_ state: Int32, _ byte: UInt8) -> Int32 { knownStep(state, byte) ?? explore(state, byte) }

    /// The state after a byte, where that has been found out before.
    func knownStep(_ state: Int32, _ byte: UInt8) -> Int32? {
        let known = transitions[Int(state) * representatives.count + Int(classes[Int(byte)])]
        return known == Self.unknown ? nil : known
    }

    /// Whether the text may end here.
    func mayEnd(_ state: Int32) -> Bool { accepting[Int(state)] }

    /// Whether nothing can follow.
    func mustEnd(_ state: Int32) -> Bool { places[Int(state)].isEmpty }

    /// Whether there are too many states.
    var isLarge: Bool { places.count > maximumStates || held + frames.count > Self.maximumHeld }

    /// Forgets every state where there are too many; the numbers of states are then no longer valid.
    mutating func forgetIfLarge() {
        guard isLarge else { return }
        (frames, frameNumbers, places, stateNumbers, accepting, transitions) = ([], [:], [], [:], [], [])
        held = 0
        epoch += 1
        // Was found when the automaton was made
        start = number(of: closure([(starts[0], 0)]) ?? ([], false))
    }

    private mutating func explore(_ state: Int32, _ byte: UInt8) -> Int32 {
        var reached: [(Int32, Int32)] = []
        for place in places[Int(state)] {
            let (node, stack) = (Int32(truncatingIfNeeded: place >> 32), Int32(truncatingIfNeeded: place & 0xFFFF_FFFF))
            guard case .bytes(let range, let next) = nodes[Int(node)], range.contains(byte) else { continue }
            reached.append((next, stack))
        }
        work += 1 + places[Int(state)].count / 16
        let result = reached.isEmpty ? Self.dead : closure(reached).map { number(of: $0) } ?? Self.dead
        transitions[Int(state) * representatives.count + Int(classes[Int(byte)])] = result
        return result
    }

    /// The places that take a byte and are reached from some without taking one, and whether the text may end; nil for
    /// too many.
    private mutating func closure(_ begin: [(node: Int32, stack: Int32)]) -> (places: [UInt64], mayEnd: Bool)? {
        var (open, seen, result, mayEnd) = (begin, Set<UInt64>(), [UInt64](), false)
        while let (node, stack) = open.popLast() {
            let place = UInt64(UInt32(bitPattern: node)) << 32 | UInt64(UInt32(bitPattern: stack))
            guard seen.insert(place).inserted else { continue }
            guard seen.count <= Self.maximumPlaces else { return nil }
            switch nodes[Int(node)] {
            case .bytes: result.append(place)
            case .split(let others): open += others.map { ($0, stack) }
            case .call(let rule, let next): open.append((starts[Int(rule)], pushed(next, on: stack)))
            case .end:
                if stack == 0 {
                    mayEnd = true
                } else {
                    let frame = frames[Int(stack) - 1]
                    open.append((frame.next, frame.parent))
                }
            }
        }
        work += seen.count
        return (result.sorted(), mayEnd)
    }

    private mutating func pushed(_ next: Int32, on stack: Int32) -> Int32 {
        let frame = Frame(next: next, parent: stack)
        if let known = frameNumbers[frame] { return known }
        frames.append(frame)
        frameNumbers[frame] = Int32(frames.count)
        return Int32(frames.count)
    }

    private mutating func number(of state: (places: [UInt64], mayEnd: Bool)) -> Int32 {
        let key = state.places + [state.mayEnd ? 1 : 0]
        if let known = stateNumbers[key] { return known }
        let number = Int32(places.count)
        stateNumbers[key] = number
        places.append(state.places)
        held += state.places.count
        accepting.append(state.mayEnd)
        transitions += repeatElement(Self.unknown, count: representatives.count)
        return number
    }

    // MARK: - Making

    private mutating func reserve() throws(MoruError) -> Int32 {
        guard nodes.count < Self.maximumNodes else {
            throw MoruError(
                .grammarTooLarge, "the grammar has more than \(Self.maximumNodes) places",
                remedy: "use smaller limits for repetitions, such as maxLength and maxItems, or none")
        }
        nodes.append(.split([]))
        return Int32(nodes.count - 1)
    }

    private mutating func add(_ node: Node) throws(MoruError) -> Int32 {
        if let known = interned[node] { return known }
        let number = try reserve()
        nodes[Int(number)] = node
        interned[node] = number
        return number
    }

    /// The place where an expression begins that goes on at another.
    private mutating func compile(_ expression: Grammar.Expression, next: Int32) throws(MoruError) -> Int32 {
        var next = next
        switch expression {
        case .bytes(let bytes):
            for byte in bytes.reversed() { next = try add(.bytes(byte...byte, next: next)) }
            return next
        case .scalars(let set):
            var begins: [Int32] = []
            for sequence in set.utf8Sequences {
                var place = next
                for range in sequence.reversed() { place = try add(.bytes(range, next: place)) }
                begins.append(place)
            }
            return try add(.split(begins))
        case .sequence(let parts):
            for part in parts.reversed() { next = try compile(part, next: next) }
            return next
        case .alternatives(let parts):
            var begins: [Int32] = []
            for part in parts { begins.append(try compile(part, next: next)) }
            return try add(.split(begins))
        case .repeated(let part, let minimum, let maximum):
            let after = next
            if let maximum {
                for _ in minimum..<max(minimum, maximum) {
                    next = try add(.split([try compile(part, next: next), after]))
                }
            } else {
                next = try reserve()
                nodes[Int(next)] = .split([try compile(part, next: next), after])
            }
            for _ in 0..<minimum { next = try compile(part, next: next) }
            return next
        case .rule(let number):
            // What ends with a rule needs no return: long lists then take no stack
            return nodes[Int(next)] == .end ? starts[number] : try add(.call(rule: Int32(number), next: next))
        }
    }

    /// Leaves out the ways that no text goes, so that each beginning of a text that is allowed can be completed.
    private mutating func leaveOutDeadEnds() throws(MoruError) {
        let leadsOn = nodesThatEnd(taking: true)
        guard leadsOn[Int(starts[0])] else {
            throw MoruError(
                .grammarMalformed,
                "no text fits the grammar: every way through it continues forever or contradicts itself",
                remedy: "give every recursion an alternative that ends it")
        }
        for number in nodes.indices {
            guard case .split(let others) = nodes[number], !others.allSatisfy({ leadsOn[Int($0)] }) else { continue }
            nodes[number] = .split(others.filter { leadsOn[Int($0)] })
        }
    }

    private mutating func makeClasses() {
        var begins = [Bool](repeating: false, count: 257)
        for case .bytes(let range, _) in nodes {
            begins[Int(range.lowerBound)] = true
            begins[Int(range.upperBound) + 1] = true
        }
        begins[0] = true
        for byte in 0..<256 {
            if begins[byte] { representatives.append(UInt8(byte)) }
            classes[byte] = UInt8(representatives.count - 1)
        }
    }
}
