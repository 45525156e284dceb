import MoruBase

/// What is known of a grammar's places before any text is read, in time that grows with their number alone: grammars
/// come from requests.
extension GrammarAutomaton {
    /// Which places lead to the end of their rule.
    ///
    /// - Parameter taking: Whether by any text, or by the empty one alone.
    func nodesThatEnd(taking: Bool) -> [Bool] {
        // From the ends backwards: each place is told once of each place that it waits for
        var (waiting, open) = ([[Int32]](repeating: [], count: nodes.count), [Int32]())
        for (number, node) in nodes.enumerated() {
            let number = Int32(number)
            switch node {
            case .bytes(_, let next): if taking { waiting[Int(next)].append(number) }
            case .split(let others): for other in others { waiting[Int(other)].append(number) }
            case .call(let rule, let next):
                waiting[Int(starts[Int(rule)])].append(number)
                waiting[Int(next)].append(number)
            case .end: open.append(number)
            }
        }
        var ends = [Bool](repeating: false, count: nodes.count)
        while let number = open.popLast() {
            guard !ends[Int(number)] else { continue }
            ends[Int(number)] = true
            for other in waiting[Int(number)] where !ends[Int(other)] {
                if case .call(let rule, let next) = nodes[Int(other)],
                    !ends[Int(starts[Int(rule)])] || !ends[Int(next)]
                {
                    continue
                }
                open.append(other)
            }
        }
        return ends
    }

    /// Refuses a rule that may begin with itself: it would never be left.
    func refuseLeftRecursion() throws(MoruError) {
        let components = stronglyConnectedComponents(endingEmpty: nodesThatEnd(taking: false))
        var first: Int32?
        for (number, node) in nodes.enumerated() {
            guard case .call(let rule, _) = node, components[number] == components[Int(starts[Int(rule)])] else {
                continue
            }
            first = min(first ?? rule, rule)
        }
        guard let first else { return }
        throw MoruError(
            .grammarMalformed, "rule \(first + 1) of the grammar begins with itself (left recursion)",
            remedy: "write a repetition instead: items ::= item (\",\" item)*")
    }

    /// Where a place goes on without taking a byte.
    private func successors(of number: Int, endingEmpty: [Bool]) -> [Int32] {
        switch nodes[number] {
        case .bytes, .end: []
        case .split(let others): others
        case .call(let rule, let next):
            endingEmpty[Int(starts[Int(rule)])] ? [starts[Int(rule)], next] : [starts[Int(rule)]]
        }
    }

    /// The number of each place's component: places that reach each other without taking a byte share one (Tarjan,
    /// 1972). Without recursion of its own, since grammars may be deeper than the stack.
    private func stronglyConnectedComponents(endingEmpty: [Bool]) -> [Int32] {
        var components = [Int32](repeating: -1, count: nodes.count)
        var (order, lowest) = ([Int32](repeating: -1, count: nodes.count), [Int32](repeating: 0, count: nodes.count))
        var (met, path): ([Int32], [(node: Int, others: [Int32], next: Int)]) = ([], [])
        var (count, found) = (Int32(0), Int32(0))
        func visit(_ node: Int) {
            (order[node], lowest[node]) = (count, count)
            count += 1
            met.append(Int32(node))
            path.append((node, successors(of: node, endingEmpty: endingEmpty), 0))
        }
        for root in nodes.indices where order[root] < 0 {
            visit(root)
            while let (node, others, next) = path.last {
                if next < others.count {
                    path[path.count - 1].next += 1
                    let other = Int(others[next])
                    if order[other] < 0 {
                        visit(other)
                    } else if components[other] < 0 {
                        lowest[node] = min(lowest[node], order[other])
                    }
                    continue
                }
                path.removeLast()
                if let parent = path.last?.node { lowest[parent] = min(lowest[parent], lowest[node]) }
                guard lowest[node] == order[node] else { continue }
                while let last = met.popLast() {
                    components[Int(last)] = found
                    if Int(last) == node { break }
                }
                found += 1
            }
        }
        return components
    }
}
