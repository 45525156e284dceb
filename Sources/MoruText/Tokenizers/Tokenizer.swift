import MoruBase
import Synchronization

/// Turns text into the ids a language model works with, and back.
///
/// Reads the `tokenizer.json` of the Hugging Face `tokenizers` library and the `tokenizer.ggml.*` metadata of GGUF
/// files, and gives the ids that library gives. The `truncation` and `padding` sections of a tokenizer.json are not
/// applied: no text is ever cut short in silence.
///
/// A value is cheap to copy and may be used from many threads at once.
public struct Tokenizer: Sendable {
    /// The parts, shared by copies, and the pool of sessions that work with them.
    final class Core: Sendable {
        let parts: TokenizerParts
        private let idle = Mutex<[EncodingSession]>([])
        private static let maximumIdle = 4

        init(_ parts: TokenizerParts) { self.parts = parts }

        func withSession<Result>(_ body: (EncodingSession) -> Result) -> Result {
            let session = idle.withLock { $0.popLast() } ?? EncodingSession(parts)
            let result = body(session)
            idle.withLock { if $0.count < Self.maximumIdle { $0.append(session) } }
            return result
        }
    }

    let core: Core
    /// The id that begins a sequence, where the model has one.
    public var beginOfSequence: Int32?
    /// The id that ends a sequence, where the model has one.
    public var endOfSequence: Int32?
    /// The id of what is not in the vocabulary, where the model has one.
    public var unknown: Int32?
    /// The id that fills up batches, where the model has one.
    public var padding: Int32?

    init(_ parts: TokenizerParts) {
        var parts = parts
        parts.finish()
        core = Core(parts)
        beginOfSequence = parts.beginOfSequence
        endOfSequence = parts.endOfSequence
        unknown = parts.unknown
        padding = parts.padding
    }

    /// Computes what the first text needs on another thread, for whoever is about to read a model.
    package static func prepare() { Task.detached { _ = UnicodeTable.shared } }

    /// The highest id, with those of added tokens, plus one.
    public var vocabularySize: Int { core.parts.size }

    /// The ids of a text.
    ///
    /// - Parameters:
    ///   - addSpecialTokens: Whether to put the tokens of the post-processor around it, such as `[CLS]` and `[SEP]`.
    ///   - parseSpecial: Whether text that spells a special token, such as `<|im_end|>`, becomes that token. Pass
    ///     false for text from strangers. Added tokens that are not special are found either way.
    public func encode(_ text: String, addSpecialTokens: Bool = true, parseSpecial: Bool = true) -> [Int32] {
        var text = text
        return text.withUTF8 { encode(valid: $0, addSpecialTokens, parseSpecial) }
    }

    /// The tokens that the post-processor puts around a text.
    public var surroundingTokens: (before: [Int32], after: [Int32]) { (core.parts.prefix, core.parts.suffix) }

    /// The beginning of a text's ids, with the tokens that the post-processor puts at the end of each.
    public func cut(_ ids: [Int32], to limit: Int) -> [Int32] {
        guard ids.count > limit else { return ids }
        let after = surroundingTokens.after
        return ids.prefix(max(0, limit - after.count)) + after.suffix(limit)
    }

    /// The ids of text in UTF-8 that may not be valid: byte-level models encode what is not as raw bytes, others
    /// as U+FFFD.
    public func encode(
        utf8 bytes: UnsafeRawBufferPointer, addSpecialTokens: Bool = true, parseSpecial: Bool = true
    ) -> [Int32] {
        bytes.withMemoryRebound(to: UInt8.self) { bytes in
            if core.parts.modelReadsBytes { return encode(valid: bytes, addSpecialTokens, parseSpecial) }
            return encode(
                String(decoding: bytes, as: UTF8.self), addSpecialTokens: addSpecialTokens, parseSpecial: parseSpecial)
        }
    }

    /// The ids of text in UTF-8 that may not be valid; see the other overload.
    public func encode(utf8 bytes: [UInt8], addSpecialTokens: Bool = true, parseSpecial: Bool = true) -> [Int32] {
        bytes.withUnsafeBytes { encode(utf8: $0, addSpecialTokens: addSpecialTokens, parseSpecial: parseSpecial) }
    }

    private func encode(
        valid bytes: UnsafeBufferPointer<UInt8>, _ addSpecialTokens: Bool, _ parseSpecial: Bool
    ) -> [Int32] {
        let parts = core.parts
        let around = addSpecialTokens ? parts.prefix.count + parts.suffix.count : 0
        return core.withSession { session in
            let ids = session.encode(bytes, parsesSpecial: parseSpecial)
            var result: [Int32] = []
            result.reserveCapacity(ids.count + around)
            if addSpecialTokens { result += parts.prefix }
            result.append(contentsOf: ids)
            if addSpecialTokens { result += parts.suffix }
            return result
        }
    }

    /// The text of a sequence of ids. Ids that have no piece are left out; bytes that form no valid UTF-8 become
    /// U+FFFD.
    ///
    /// - Parameter skipSpecialTokens: Whether to leave out special tokens.
    public func decode(_ ids: some Sequence<Int32>, skipSpecialTokens: Bool = false) -> String {
        String(decoding: decodedBytes(ids, skipSpecialTokens: skipSpecialTokens), as: UTF8.self)
    }

    func decodedBytes(_ ids: some Sequence<Int32>, skipSpecialTokens: Bool) -> [UInt8] {
        let parts = core.parts
        if case .byteLevel = parts.decoders.first, parts.decoders.count == 1 {
            var bytes: [UInt8] = []
            for id in ids where !(skipSpecialTokens && isSpecial(id)) { appendByteLevel(id, to: &bytes) }
            return bytes
        }
        var pieces: [[UInt8]] = []
        for id in ids where !(skipSpecialTokens && isSpecial(id)) {
            if let piece = parts.piece(id) { pieces.append(piece) }
        }
        if parts.joinsWithSpaces { return Array(pieces.joined(separator: [0x20])) }
        for decoder in parts.decoders { pieces = decoder.apply(pieces) }
        return Array(pieces.joined())
    }

    private func appendByteLevel(_ id: Int32, to bytes: inout [UInt8]) {
        let parts = core.parts
        if let added = parts.addedByID[id] {
            if !ByteAlphabet.decode(added.content, into: &bytes) { bytes += added.content }
            return
        }
        let piece = parts.vocabulary.bytes(of: Int(id))
        if !ByteAlphabet.decode(piece, into: &bytes) { bytes += piece }
    }

    /// Whether decoding is no more than putting the bytes of the tokens together.
    var decodesByteByByte: Bool {
        if case .byteLevel = core.parts.decoders.first { core.parts.decoders.count == 1 } else { false }
    }

    /// The raw bytes a token stands for inside a text, which may be part of a character; empty for an id without
    /// piece. A piece that begins a word gives its space; a piece of WordPiece gives no space.
    public func bytes(of id: Int32) -> [UInt8] {
        guard let piece = core.parts.piece(id) else { return [] }
        var bytes = piece
        for decoder in core.parts.decoders { bytes = decoder.bytes(of: bytes) }
        return bytes
    }

    /// A token as it is stored in the vocabulary, such as `Ġhello`; nil for an id without one.
    public func piece(_ id: Int32) -> String? {
        core.parts.piece(id).map { String(decoding: $0, as: UTF8.self) }
    }

    /// The id of a token as it is stored in the vocabulary; nil when there is none.
    public func id(of piece: String) -> Int32? { core.parts.id(of: Array(piece.utf8)) }

    /// Whether an id is a special token, which stands for no text.
    public func isSpecial(_ id: Int32) -> Bool { core.parts.addedByID[id]?.isSpecial ?? false }

    /// The tokenizer with the roles that a `tokenizer_config.json` gives: `bos_token`, `eos_token`, `unk_token` and
    /// `pad_token`, each a string or an object with `content`.
    ///
    /// - Throws: ``MoruError/Code/tokenizerMalformed`` when a role names a token that is not in the vocabulary.
    public func applying(config: JSON, source: String = "tokenizer_config.json") throws(MoruError) -> Tokenizer {
        var result = self
        let roles: [(String, WritableKeyPath<Tokenizer, Int32?>)] = [
            ("bos_token", \.beginOfSequence), ("eos_token", \.endOfSequence), ("unk_token", \.unknown),
            ("pad_token", \.padding),
        ]
        for (key, role) in roles {
            guard let value = config[key] else { continue }
            guard let piece = value.string ?? value["content"]?.string else {
                throw MoruError(
                    .tokenizerMalformed, "\(source): \(key) is \(value.kindName)",
                    remedy: "it must be a string or an object with the string \"content\"")
            }
            guard let id = id(of: piece) else {
                throw MoruError(
                    .tokenizerMalformed, "\(source): \(key) is \"\(piece)\", which the tokenizer does not have",
                    remedy: "check that tokenizer.json and tokenizer_config.json are of the same model")
            }
            result[keyPath: role] = id
        }
        return result
    }
}
