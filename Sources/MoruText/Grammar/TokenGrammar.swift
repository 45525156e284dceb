import Dispatch
import MoruBase
import Synchronization

/// A grammar over the tokens of a vocabulary: which tokens may come next, after any text that it allows.
///
/// What has been found out once is kept for all texts, so that a state's tokens are looked for once: a pass over the
/// whole vocabulary takes about a millisecond, a look-up almost nothing. May be used from many threads.
///
///     let grammar = try TokenGrammar(Grammar(jsonSchema: schema), TokenTrie(tokenizer))
///     var matcher = grammar.matcher()
///     let allowed = try matcher.allowed()   // then choose one of them
///     matcher.accept(id)
public final class TokenGrammar: Sendable {
    private struct Knowledge {
        var automaton: GrammarAutomaton
        var epoch = 0
        var masks: [Int32: TokenMask] = [:]
        /// Many states allow the same tokens: each set is held once.
        var shared: Set<TokenMask> = []
        /// What has been begun to be looked for, by state.
        var searches: [Int32: MaskSearch] = [:]

        /// A text's state; its bytes are read again where states have been forgotten since.
        mutating func state(of text: GrammarMatcher) -> Int32 {
            guard text.place.epoch != epoch else { return text.place.state }
            return text.bytes.reduce(automaton.start) { automaton.step($0, $1) }
        }

        mutating func forgetIfLarge() {
            automaton.forgetIfLarge()
            guard automaton.epoch != epoch else { return }
            epoch = automaton.epoch
            (masks, shared, searches) = ([:], [], [:])
        }
    }

    /// Where a text is in the grammar: the state, and the epoch of the automaton in which its number holds.
    struct Place: Sendable {
        var state: Int32
        var epoch: Int
    }

    private let trie: TokenTrie
    private let knowledge: Mutex<Knowledge>
    /// Where what takes long is looked for. The queues of all grammars share a few threads in turns.
    let queue = DispatchQueue(label: "moru.grammar", target: .global(qos: .userInitiated))

    /// Makes a grammar ready for a vocabulary.
    ///
    /// - Parameters:
    ///   - grammar: What a text may be.
    ///   - trie: The vocabulary; make it once for many grammars.
    /// - Throws: ``MoruError/Code/grammarMalformed`` for a grammar that no text fits or whose rules begin with
    ///   themselves, ``MoruError/Code/grammarTooLarge``.
    public convenience init(_ grammar: Grammar, _ trie: TokenTrie) throws(MoruError) {
        self.init(try GrammarAutomaton(grammar), trie)
    }

    init(_ automaton: GrammarAutomaton, _ trie: TokenTrie) {
        self.trie = trie
        knowledge = Mutex(Knowledge(automaton: automaton))
    }

    /// A matcher before the first token of a text.
    public func matcher() -> GrammarMatcher {
        let place = knowledge.withLock { Place(state: $0.automaton.start, epoch: $0.epoch) }
        return GrammarMatcher(self, place)
    }

    /// Work to be done without letting others in: some milliseconds, unless a single transition takes longer.
    private static let slice = 50_000

    /// The tokens that a text may go on with.
    func allowed(after text: GrammarMatcher) throws(MoruError) -> TokenMask {
        var isRepeated = false
        while true {
            if let mask = try lookForAllowed(after: text, &isRepeated) { return mask }
        }
    }

    /// Goes on looking for the tokens that a text may go on with, for some milliseconds; nil where that did not suffice.
    ///
    /// - Parameter isRepeated: Whether all states were forgotten in the course of it; false at first.
    /// - Throws: ``MoruError/Code/grammarTooLarge`` where there is not enough memory for the states that the tokens lead
    ///   to alone.
    func lookForAllowed(after text: GrammarMatcher, _ isRepeated: inout Bool) throws(MoruError) -> TokenMask? {
        try knowledge.withLock { knowledge throws(MoruError) in
            let state = knowledge.state(of: text)
            if let known = knowledge.masks[state] { return known }
            var search = knowledge.searches.removeValue(forKey: state) ?? MaskSearch(trie, from: state)
            if search.run(&knowledge.automaton, trie, work: Self.slice) {
                let mask = knowledge.shared.insert(search.mask).memberAfterInsert
                knowledge.masks[state] = mask
                return mask
            }
            knowledge.searches[state] = search
            guard knowledge.automaton.isLarge else { return nil }
            // What was known before may have taken the room; what the search itself needs cannot be forgotten
            if isRepeated {
                throw MoruError(
                    .grammarTooLarge, "a text can be read in too many ways by the grammar to find out how it may go on",
                    remedy: "use smaller limits for repetitions, and repetitions and alternatives that do not overlap")
            }
            isRepeated = true
            knowledge.forgetIfLarge()
            return nil
        }
    }

    /// What is known at once of a text: whether it may and must end, and the tokens that it may go on with; nil where
    /// that has to be looked for, or others are looking for something.
    func known(of text: GrammarMatcher) -> (mayEnd: Bool, mustEnd: Bool, allowed: TokenMask?)? {
        knowledge.withLockIfAvailable { knowledge -> (Bool, Bool, TokenMask?)? in
            guard text.place.epoch == knowledge.epoch else { return nil }
            let state = text.place.state
            return (
                knowledge.automaton.mayEnd(state), knowledge.automaton.mustEnd(state), knowledge.masks[state]
            )
        } ?? nil
    }

    /// Where a text is after a token that it may go on with, as far as that is known at once.
    func knownPlace(of text: GrammarMatcher, after id: Int32) -> (place: Place, bytes: [UInt8])? {
        guard trie.tokens.indices.contains(Int(id)), !trie.tokens[Int(id)].isEmpty else { return nil }
        let bytes = trie.tokens[Int(id)]
        return knowledge.withLockIfAvailable { knowledge -> (place: Place, bytes: [UInt8])? in
            guard text.place.epoch == knowledge.epoch, !knowledge.automaton.isLarge else { return nil }
            var state = text.place.state
            for byte in bytes {
                guard let next = knowledge.automaton.knownStep(state, byte), next != GrammarAutomaton.dead else {
                    return nil
                }
                state = next
            }
            return (Place(state: state, epoch: knowledge.epoch), bytes)
        } ?? nil
    }

    /// Whether a text may end, and whether it must.
    func ending(of text: GrammarMatcher) -> (may: Bool, must: Bool) {
        knowledge.withLock { knowledge in
            let state = knowledge.state(of: text)
            return (knowledge.automaton.mayEnd(state), knowledge.automaton.mustEnd(state))
        }
    }

    /// Where a text is after a token; nil where the token is not allowed.
    func place(of text: GrammarMatcher, after id: Int32) -> (place: Place, bytes: [UInt8])? {
        guard trie.tokens.indices.contains(Int(id)), !trie.tokens[Int(id)].isEmpty else { return nil }
        let bytes = trie.tokens[Int(id)]
        return knowledge.withLock { knowledge in
            knowledge.forgetIfLarge()
            var state = knowledge.state(of: text)
            for byte in bytes {
                state = knowledge.automaton.step(state, byte)
                if state == GrammarAutomaton.dead { return nil }
            }
            return (Place(state: state, epoch: knowledge.epoch), bytes)
        }
    }
}

/// Walks the vocabulary's tree along the automaton, leaving out what is below a byte that leads nowhere.
private struct MaskSearch: Sendable {
    private(set) var mask: TokenMask
    private var states: [Int32]
    private var number = 0

    init(_ trie: TokenTrie, from state: Int32) {
        mask = TokenMask(count: trie.vocabularySize)
        states = [Int32](repeating: state, count: trie.maximumDepth + 2)
    }

    /// Goes on for some work, or until there are too many states; true where the mask is complete.
    mutating func run(_ automaton: inout GrammarAutomaton, _ trie: TokenTrie, work: Int) -> Bool {
        let end = automaton.work + work
        return trie.nodes.withUnsafeBufferPointer { nodes in
            while number < nodes.count {
                let node = nodes[number]
                let next: Int32
                if let known = automaton.knownStep(states[Int(node.depth)], node.byte) {
                    next = known
                } else {
                    if automaton.work > end || automaton.isLarge { return false }
                    next = automaton.step(states[Int(node.depth)], node.byte)
                }
                guard next != GrammarAutomaton.dead else {
                    number = Int(node.end)
                    continue
                }
                states[Int(node.depth) + 1] = next
                for place in node.tokens { mask.insert(Int(trie.ids[Int(place)])) }
                number += 1
            }
            return true
        }
    }
}

/// Follows one text through a grammar, token by token. A value: a copy goes its own way.
public struct GrammarMatcher: Sendable {
    let grammar: TokenGrammar
    fileprivate private(set) var place: TokenGrammar.Place
    /// The text so far.
    public private(set) var bytes: [UInt8] = []

    init(_ grammar: TokenGrammar, _ place: TokenGrammar.Place) {
        self.grammar = grammar
        self.place = place
    }

    /// The tokens that the text may go on with; the end of the text is ``mayEnd``.
    ///
    /// - Throws: ``MoruError/Code/grammarTooLarge`` where the grammar can be read in too many ways.
    public func allowed() throws(MoruError) -> TokenMask { try grammar.allowed(after: self) }

    /// Whether the text is complete as it is.
    public var mayEnd: Bool { grammar.ending(of: self).may }

    /// Whether the text is complete and nothing can follow.
    public var mustEnd: Bool { grammar.ending(of: self).must }

    /// Where what takes long is looked for.
    package var queue: DispatchQueue { grammar.queue }

    /// Appends a token to the text, if what follows is known at once; if not, nothing has changed.
    mutating func acceptKnown(_ id: Int32) -> Bool { move(to: grammar.knownPlace(of: self, after: id)) }

    private mutating func move(to next: (place: TokenGrammar.Place, bytes: [UInt8])?) -> Bool {
        guard let next else { return false }
        place = next.place
        bytes += next.bytes
        return true
    }

    /// Appends a token to the text.
    ///
    /// - Returns: Whether the grammar allows it; if not, nothing has changed.
    @discardableResult
    public mutating func accept(_ id: Int32) -> Bool { move(to: grammar.place(of: self, after: id)) }
}
