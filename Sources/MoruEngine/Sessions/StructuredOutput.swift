import MoruBase
import MoruText
import Synchronization

/// The form that an answer must have; one in another form cannot be generated.
public enum StructuredOutput: Sendable, Hashable {
    /// A JSON object.
    case jsonObject
    /// JSON that fits a schema; see `Grammar.init(jsonSchema:)` for what a schema may ask.
    case jsonSchema(JSON)
    /// Text that a regular expression matches from its first to its last character.
    case regex(String)
    /// Text of a grammar in GBNF.
    case gbnf(String)
    /// One of some texts.
    case choice([String])
    /// Texts of a grammar.
    case grammar(Grammar)

    /// The grammar of such texts.
    ///
    /// - Throws: ``MoruError/Code/grammarMalformed`` or ``MoruError/Code/grammarUnsupported``.
    func grammar() throws(MoruError) -> Grammar {
        switch self {
        case .jsonObject: .jsonObject
        case .jsonSchema(let schema): try Grammar(jsonSchema: schema)
        case .regex(let pattern): try Grammar(regex: pattern)
        case .gbnf(let text): try Grammar(gbnf: text)
        case .choice(let texts): .choice(texts)
        case .grammar(let grammar): grammar
        }
    }
}

/// The grammars that requests have asked for lately, ready for a model's vocabulary: many requests ask for the same.
final class GrammarShelf: Sendable {
    private static let capacity = 64

    private struct Content {
        var trie: TokenTrie?
        /// The latest at the end.
        var grammars: [(output: StructuredOutput, grammar: TokenGrammar)] = []

        /// A grammar that is there, which becomes the latest.
        mutating func take(_ output: StructuredOutput) -> TokenGrammar? {
            guard let place = grammars.firstIndex(where: { $0.output == output }) else { return nil }
            let found = grammars.remove(at: place)
            grammars.append(found)
            return found.grammar
        }
    }

    private let tokenizer: Tokenizer
    private let content = Mutex(Content())

    init(_ tokenizer: Tokenizer) { self.tokenizer = tokenizer }

    /// A matcher at the beginning of a text.
    ///
    /// - Throws: ``MoruError/Code/grammarMalformed``, ``MoruError/Code/grammarUnsupported`` or
    ///   ``MoruError/Code/grammarTooLarge``.
    func matcher(for output: StructuredOutput) throws(MoruError) -> GrammarMatcher {
        if let known = content.withLock({ $0.take(output) }) { return known.matcher() }
        let trie = content.withLock { content in
            let trie = content.trie ?? TokenTrie(tokenizer)
            content.trie = trie
            return trie
        }
        // Outside the lock: a large schema takes its time
        let grammar = try TokenGrammar(output.grammar(), trie)
        content.withLock { content in
            if content.take(output) == nil { content.grammars.append((output, grammar)) }
            if content.grammars.count > Self.capacity { content.grammars.removeFirst() }
        }
        return grammar.matcher()
    }
}
