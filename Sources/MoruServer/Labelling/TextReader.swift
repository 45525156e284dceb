import MoruBase
import MoruEngine
import MoruModels
import MoruText

/// Turns texts into tokens on a thread of its own: a request may have megabytes of them.
actor TextReader {
    private nonisolated let executor = EngineExecutor(name: "moru-texts")

    /// The reader's own thread.
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// Bytes of text that are read before it is another request's turn.
    private static let turnBytes = 64 << 10

    /// The tokens of texts, checked and cut as is asked for.
    ///
    /// - Throws: ``APIError`` that names the field, or `CancellationError`.
    nonisolated func tokens(of texts: TextInputs, for reading: TextReading) async throws -> [[Int32]] {
        guard texts.inputs.count <= TextInputs.maximumCount else {
            throw APIError.wrongValue(
                texts.fieldName,
                "has \(texts.inputs.count) texts, and a request may have \(TextInputs.maximumCount) at most")
        }
        var (results, begin): ([[Int32]], Int) = ([], 0)
        while begin < texts.inputs.count {
            try Task.checkCancellation()
            var (end, bytes) = (begin, 0)
            while end < texts.inputs.count, bytes < Self.turnBytes {
                bytes += texts.inputs[end].byteCount
                end += 1
            }
            results += try await read(begin..<end, of: texts, reading)
            begin = end
        }
        return results
    }

    private func read(_ range: Range<Int>, of texts: TextInputs, _ reading: TextReading) throws(APIError) -> [[Int32]] {
        var results: [[Int32]] = []
        for index in range { results.append(try reading.tokens(of: index, in: texts)) }
        return results
    }
}

/// How a model's texts become tokens.
struct TextReading: Sendable {
    let tokenizer: Tokenizer
    let vocabularySize: Int
    /// The most tokens of a text.
    let limit: Int
    /// All tokens of a text.
    let encode: @Sendable (_ text: String, _ texts: TextInputs) throws(MoruError) -> [Int32]

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

    /// The tokens of one of several texts.
    ///
    /// - Throws: ``APIError`` for a text without tokens or of too many, or ids that the model does not know.
    fileprivate func tokens(of index: Int, in texts: TextInputs) throws(APIError) -> [Int32] {
        let name = texts.names[index]
        let ids: [Int32]
        switch texts.inputs[index] {
        case .text(let text):
            do { ids = try encode(text, texts) } catch {
                throw APIError(error, param: error.code == .promptUnknown ? "prompt_name" : name)
            }
        case .tokens(let given):
            ids = given
            if let id = ids.first(where: { $0 < 0 || Int($0) >= vocabularySize }) {
                throw .wrongValue(name, "has the token id \(id), and the model's ids are below \(vocabularySize)")
            }
        }
        guard !ids.isEmpty else { throw .wrongValue(name, "has no tokens") }
        let most = min(limit, texts.cutTokens ?? limit)
        guard ids.count > most else { return ids }
        guard texts.cutTokens != nil else {
            throw APIError(
                MoruError(
                    .promptTooLong,
                    "'\(name)' has \(ids.count) tokens, \(ids.count - most) more than the \(most) that the model reads",
                    remedy: "shorten it, or split it"), param: name)
        }
        if case .text = texts.inputs[index], texts.addsSpecialTokens { return tokenizer.cut(ids, to: most) }
        return Array(ids.prefix(most))
    }
}

extension TextInputs {
    /// The field that holds the texts, such as `input` of `input[3]`.
    fileprivate var fieldName: String {
        names.first.map { String($0.prefix { $0 != "[" }) } ?? "input"
    }
}

extension TextInput {
    fileprivate var byteCount: Int {
        switch self {
        case .text(let text): text.utf8.count
        case .tokens(let ids): ids.count
        }
    }
}
