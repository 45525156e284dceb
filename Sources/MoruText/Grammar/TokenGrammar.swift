import MoruBase
import Synchronization

/// A grammar over the tokens of a vocabulary: which tokens may come next, after any text that it allows.
///
/// What has been found out once is kept for all texts, so that a state's tokens are looked for once: a pass over the
/// whole vocabulary takes about a millisecond, a look-up almost nothing. May be used from many threads.
///
///     let grammar = try TokenGrammar(Grammar(jsonSchema: schema), TokenTrie(tokenizer))
///     var matcher = grammar.matcher()
///     let allowed = matcher.allowed()   // then choose one of them
///     matcher.accept(id)
public final class TokenGrammar: Sendable {
    private struct Knowledge {
        var automaton: GrammarAutomaton
        var epoch = 0
        var masks: [Int32: TokenMask] = [:]
        /// Many states allow the same tokens: each set is held once.
        var shared: Set<TokenMask> = []

        /// A text's state; its bytes are read again where states have been forgotten since.
        mutating func state(of text: GrammarMatcher) -> Int32 {
            guard text.place.epoch != epoch else { return text.place.state }
            return text.bytes.reduce(automaton.start) { automaton.step($0, $1) }
        }

        mutating func forgetIfLarge() {
            automaton.forgetIfLarge()
            guard automaton.epoch != epoch else { return }
            epoch = automaton.epoch
            (masks, shared) = ([:], [])
        }
    }

    /// Where a text is in the grammar: the state, and the epoch of the automaton in which its number holds.
    struct Place: Sendable {
        var state: Int32
        var epoch: Int
    }

    private let trie: TokenTrie
    private let knowledge: Mutex<Knowledge>

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

    /// The tokens that a text may go on with.
    func allowed(after text: GrammarMatcher) -> TokenMask {
        knowledge.withLock { knowledge in
            let state = knowledge.state(of: text)
            if let known = knowledge.masks[state] { return known }
            let mask = knowledge.shared.insert(search(&knowledge.automaton, from: state)).memberAfterInsert
            knowledge.masks[state] = mask
            return mask
        }
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

    /// Walks the vocabulary's tree along the automaton, leaving out what is below a byte that leads nowhere.
    private func search(_ automaton: inout GrammarAutomaton, from state: Int32) -> TokenMask {
        var mask = TokenMask(count: trie.vocabularySize)
        var states = [Int32](repeating: state, count: trie.maximumDepth + 2)
        trie.nodes.withUnsafeBufferPointer { nodes in
            var number = 0
            while number < nodes.count {
                let node = nodes[number]
                let next = automaton.step(states[Int(node.depth)], node.byte)
                guard next != GrammarAutomaton.dead else {
                    number = Int(node.end)
                    continue
                }
                states[Int(node.depth) + 1] = next
                for place in node.tokens { mask.insert(Int(trie.ids[Int(place)])) }
                number += 1
            }
        }
        return mask
    }
}

/// Follows one text through a grammar, token by token. A value: a copy goes its own way.
public struct GrammarMatcher: Sendable {
    private let grammar: TokenGrammar
    fileprivate private(set) var place: TokenGrammar.Place
    /// The text so far.
    public private(set) var bytes: [UInt8] = []

    init(_ grammar: TokenGrammar, _ place: TokenGrammar.Place) {
        self.grammar = grammar
        self.place = place
    }

    /// The tokens that the text may go on with; the end of the text is ``mayEnd``.
    public func allowed() -> TokenMask { grammar.allowed(after: self) }

    /// Whether the text is complete as it is.
    public var mayEnd: Bool { grammar.ending(of: self).may }

    /// Whether the text is complete and nothing can follow.
    public var mustEnd: Bool { grammar.ending(of: self).must }

    /// Appends a token to the text.
    ///
    /// - Returns: Whether the grammar allows it; if not, nothing has changed.
    @discardableResult
    public mutating func accept(_ id: Int32) -> Bool {
        guard let next = grammar.place(of: self, after: id) else { return false }
        place = next.place
        bytes += next.bytes
        return true
    }
}
