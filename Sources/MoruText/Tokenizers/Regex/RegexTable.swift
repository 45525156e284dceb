/// Where the match of a regular expression ends that starts at each position of a text, found without backtracking.
///
/// What a pattern matches from a state and a position on depends on nothing else, since there are no groups to remember.
/// The table is filled from the end of the text to its beginning, all states at a position before those at the one
/// before, as the first alternative that leads to a match decides, just as in backtracking. Time grows with the product
/// of states and bytes; memory holds the states of a few positions, and an end for each byte.
struct RegexTable {
    /// What a state does, with the states that it leads to.
    private enum Rule {
        case accept
        /// Takes a scalar of a set and goes on; if that leads to nothing (and for a possessive one only if there is
        /// no such scalar), goes on elsewhere, if it may.
        case take(ScalarSet, then: Int, otherwise: Int?, possessive: Bool)
        case either(Int, Int)
        case same(Int)
        /// Where the group takes a scalar, what follows it is asked for at later positions only.
        case atomic(Int, exit: Int, number: Int, mayBeEmpty: Bool)
        case lookahead(Int, exit: Int, negated: Bool)
        case lookbehind(ScalarSet, negated: Bool, then: Int)
        case startOfText(Int)
        case endOfText(Int)

        /// The states whose result at the same position this one needs.
        var needed: [Int] {
            switch self {
            case .accept: []
            case .take(_, _, let otherwise, _): otherwise.map { [$0] } ?? []
            case .either(let first, let second): [first, second]
            case .atomic(let inner, let exit, _, let mayBeEmpty): mayBeEmpty ? [inner, exit] : [inner]
            case .lookahead(let inner, let exit, _): [inner, exit]
            case .same(let next), .lookbehind(_, _, let next), .startOfText(let next), .endOfText(let next): [next]
            }
        }
    }

    private static let none: Int32 = -1
    private let begin: Int
    /// How long the match at each position is; ``none`` where there is none.
    private var lengths: [Int32]

    /// Fills a table for the positions of a text from one on.
    ///
    /// - Parameter start: Where the text begins, for look-behind and anchors.
    init(_ program: RegexProgram, _ bytes: UnsafePointer<UInt8>, _ start: Int, _ end: Int, from begin: Int) {
        self.begin = begin
        lengths = Array(repeating: Self.none, count: end - begin + 1)
        let rules = Self.rules(of: program.program)
        let order = Self.order(of: rules)
        let states = rules.count
        // The ends of matches, relative to `begin`: a scalar has four bytes at most, so five positions go round
        var columns = [Int32](repeating: Self.none, count: 5 * states)
        // Where an atomic group may end anywhere, what follows it at each position
        let exits = rules.compactMap { if case .atomic(_, let exit, _, _) = $0 { exit } else { nil } }
        var following = [Int32](repeating: Self.none, count: exits.count * lengths.count)
        for place in stride(from: end - begin, through: 0, by: -1) {
            let position = begin + place
            let (value, length) = position < end ? decodeScalar(bytes, position, end) : (0, 0)
            let (now, next) = (place % 5 * states, (place + length) % 5 * states)
            for state in order {
                var result = Self.none
                switch rules[state] {
                case .accept: result = Int32(place)
                case .take(let set, let then, let otherwise, let possessive):
                    let takes = length > 0 && set.contains(value)
                    if takes { result = columns[next + then] }
                    if result == Self.none, !(takes && possessive), let otherwise { result = columns[now + otherwise] }
                case .either(let first, let second):
                    result = columns[now + first]
                    if result == Self.none { result = columns[now + second] }
                case .same(let other): result = columns[now + other]
                case .atomic(let inner, let exit, let number, _):
                    let stop = columns[now + inner]
                    if stop == place {
                        result = columns[now + exit]
                    } else if stop != Self.none {
                        result = following[number * lengths.count + Int(stop)]
                    }
                case .lookahead(let inner, let exit, let negated):
                    if (columns[now + inner] != Self.none) != negated { result = columns[now + exit] }
                case .lookbehind(let set, let negated, let then):
                    var found = false
                    if position > start {
                        let before = scalarStart(before: position, bytes, from: start)
                        found = set.contains(decodeScalar(bytes, before, position).value)
                    }
                    if found != negated { result = columns[now + then] }
                case .startOfText(let then): if position == start { result = columns[now + then] }
                case .endOfText(let then): if position == end { result = columns[now + then] }
                }
                columns[now + state] = result
            }
            for (number, exit) in exits.enumerated() {
                following[number * lengths.count + place] = columns[now + exit]
            }
            let stop = columns[now]
            lengths[place] = stop == Self.none ? Self.none : stop - Int32(place)
        }
    }

    /// The end of the match that starts exactly at a position, or nil.
    func match(at position: Int) -> Int? {
        let length = lengths[position - begin]
        return length == Self.none ? nil : position + Int(length)
    }

    private static func rules(of program: [RegexProgram.Instruction]) -> [Rule] {
        var first: [Int] = []
        var count = 0
        for instruction in program {
            first.append(count)
            count += instruction.stateCount
        }
        var rules: [Rule] = []
        rules.reserveCapacity(count)
        var atomicCount = 0
        for (number, instruction) in program.enumerated() {
            func at(_ other: Int) -> Int { first[other] }
            switch instruction {
            case .accept: rules.append(.accept)
            case .set(let set): rules.append(.take(set, then: at(number + 1), otherwise: nil, possessive: false))
            case .loop(let set, let minimum, let maximum, let possessive):
                let exit = at(number + 1)
                let last = instruction.stateCount - 1
                for taken in 0...last {
                    if taken == maximum {
                        rules.append(.same(exit))
                    } else {
                        // An unbounded run stays in its last state
                        rules.append(
                            .take(
                                set, then: at(number) + min(taken + 1, last),
                                otherwise: taken >= minimum ? exit : nil, possessive: possessive))
                    }
                }
            case .split(let one, let other): rules.append(.either(at(one), at(other)))
            case .jump(let target): rules.append(.same(at(target)))
            case .atomic(let exit, let mayBeEmpty):
                rules.append(
                    .atomic(at(number + 1), exit: at(exit), number: atomicCount, mayBeEmpty: mayBeEmpty))
                atomicCount += 1
            case .lookahead(let exit, let negated):
                rules.append(.lookahead(at(number + 1), exit: at(exit), negated: negated))
            case .lookbehind(let set, let negated):
                rules.append(.lookbehind(set, negated: negated, then: at(number + 1)))
            case .startOfText: rules.append(.startOfText(at(number + 1)))
            case .endOfText: rules.append(.endOfText(at(number + 1)))
            }
        }
        return rules
    }

    /// The states, each after those whose result at the same position it needs. There are no circles: what is repeated
    /// takes a scalar.
    private static func order(of rules: [Rule]) -> [Int] {
        var order: [Int] = []
        order.reserveCapacity(rules.count)
        var isKnown = [Bool](repeating: false, count: rules.count)
        for root in rules.indices where !isKnown[root] {
            isKnown[root] = true
            var path = [(state: root, rest: rules[root].needed)]
            while let (state, others) = path.popLast() {
                var rest = others
                guard let other = rest.popLast() else {
                    order.append(state)
                    continue
                }
                path.append((state, rest))
                if !isKnown[other] {
                    isKnown[other] = true
                    path.append((other, rules[other].needed))
                }
            }
        }
        return order
    }
}
