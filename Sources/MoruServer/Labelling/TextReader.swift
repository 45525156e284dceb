import MoruBase
import MoruEngine
import MoruModels
import MoruText

/// Turns texts into tokens on a thread of its own, off the event loop: a request may bring megabytes of them.
actor TextReader {
    private nonisolated let executor = EngineExecutor(name: "moru-texts")

    /// The reader's own thread.
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// Bytes of text that one request gets processed before the next request takes its turn.
    private static let turnBytes = 64 << 10

    /// Processes the texts of a request, one after the other.
    ///
    /// - Parameters:
    ///   - sizes: The bytes of each text.
    ///   - transform: Processes the text at an index.
    /// - Returns: What `transform` gives for each text.
    /// - Throws: What `transform` throws, or `CancellationError`.
    nonisolated func map<Result: Sendable>(
        _ sizes: [Int], _ transform: @escaping @Sendable (_ index: Int) throws -> Result
    ) async throws -> [Result] {
        var (results, begin): ([Result], Int) = ([], 0)
        while begin < sizes.count {
            try Task.checkCancellation()
            var (end, bytes) = (begin, 0)
            while end < sizes.count, bytes < Self.turnBytes {
                bytes += sizes[end]
                end += 1
            }
            results += try await turn(begin..<end, transform)
            begin = end
        }
        return results
    }

    private func turn<Result: Sendable>(
        _ range: Range<Int>, _ transform: @Sendable (_ index: Int) throws -> Result
    ) throws -> [Result] {
        try range.map(transform)
    }
}

/// How a model's texts become tokens.
struct TextReading: Sendable {
    private let tokenizer: Tokenizer
    private let vocabularySize: Int
    private let limit: Int
    private let encode: @Sendable (_ text: String, _ texts: TextInputs) throws(MoruError) -> [Int32]

    /// The tokens of an embedder's texts.
    init(_ embedder: TextEmbedder) {
        tokenizer = embedder.model.tokenizer
        vocabularySize = embedder.model.base.facts.vocabularySize
        limit = embedder.maximumTokens
        encode = { text, texts throws(MoruError) in
            try embedder.tokens(of: text, prompt: texts.prompt, addSpecialTokens: texts.addsSpecialTokens)
        }
    }

    /// The tokens of a classifier's texts.
    init(_ model: HeadedModel) {
        (tokenizer, vocabularySize, limit) = (model.tokenizer, model.base.facts.vocabularySize, model.contextLength)
        encode = { text, texts throws(MoruError) in
            model.tokenizer.encode(text, addSpecialTokens: texts.addsSpecialTokens, parseSpecial: false)
        }
    }

    /// The tokens of one of several texts, cut as is asked for.
    ///
    /// - Throws: ``APIError`` for a text without tokens or of too many, or ids that the model does not know.
    func tokens(of index: Int, in texts: TextInputs) throws(APIError) -> TokenSequence {
        let name = texts.names[index]
        let ids: [Int32]
        switch texts.inputs[index] {
        case .text(let text):
            do { ids = try encode(text, texts) } catch { throw APIError(error, param: name) }
        case .tokens(let given):
            ids = given
            if let id = ids.first(where: { $0 < 0 || Int($0) >= vocabularySize }) {
                throw .wrongValue(name, "has the token id \(id), and the model's ids are below \(vocabularySize)")
            }
        }
        guard !ids.isEmpty else { throw .wrongValue(name, "has no tokens") }
        let most = min(limit, texts.cutTokens ?? limit)
        guard ids.count > most else { return TokenSequence(ids) }
        guard texts.cutTokens != nil else { throw .tooLong(name, ids.count, limit: most) }
        if case .text = texts.inputs[index], texts.addsSpecialTokens {
            return TokenSequence(tokenizer.cut(ids, to: most))
        }
        return TokenSequence(Array(ids.prefix(most)))
    }
}

extension HeadedModel {
    /// One of several texts with its tokens, each with its place in the text.
    ///
    /// - Throws: ``APIError`` for token ids, a text without tokens, or one of too many.
    func encodedText(
        _ index: Int, of texts: TextInputs
    ) throws(APIError) -> (text: String, tokens: TokenizedText) {
        let name = texts.names[index]
        guard case .text(let text) = texts.inputs[index] else {
            throw .wrongValue(name, "must be text: what is found is told by its place in it")
        }
        let encoded = tokenizer.encodeWithOffsets(text, parseSpecial: false)
        guard !encoded.ids.isEmpty else { throw .wrongValue(name, "has no tokens") }
        guard encoded.ids.count <= contextLength else { throw .tooLong(name, encoded.ids.count, limit: contextLength) }
        return (text, encoded)
    }

    /// The tokens of one of several pairs of texts, cut as is asked for.
    ///
    /// - Throws: ``APIError`` for a pair of too many tokens.
    func tokens(of index: Int, in pairs: TextPairs) throws(APIError) -> TokenSequence {
        let ((first, second), name) = (pairs.texts(index), pairs.second.names[index])
        let most = min(contextLength, pairs.cutTokens ?? contextLength)
        var sequence: TokenSequence
        do {
            sequence = try tokens(of: first, second)
            if sequence.ids.count > most, pairs.cutTokens != nil {
                sequence = try tokens(of: first, second, limit: most)
            }
        } catch {
            throw APIError(error, param: name)
        }
        guard !sequence.ids.isEmpty else { throw .wrongValue(name, "and what it is compared with have no tokens") }
        guard sequence.ids.count <= most else {
            throw .tooLong(
                "\(name)' with '\(pairs.first.names[pairs.firstIndex(index)])", sequence.ids.count, limit: most,
                param: name)
        }
        return sequence
    }
}

extension APIError {
    /// A text of more tokens than a model reads.
    fileprivate static func tooLong(_ what: String, _ count: Int, limit: Int, param: String? = nil) -> APIError {
        APIError(
            MoruError(
                .promptTooLong,
                "'\(what)' has \(count) tokens, \(count - limit) more than the \(limit) that the model reads",
                remedy: "shorten it, or split it"), param: param ?? what)
    }
}
