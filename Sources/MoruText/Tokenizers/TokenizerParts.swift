import MoruBase

/// Everything a tokenizer is made of, as a reader of one of the file formats puts it together.
struct TokenizerParts: Sendable {
    var vocabulary: Vocabulary
    var model: TokenizerModel
    var normalizer: Normalizer?
    var preTokenizers: [PreTokenizer] = []
    var decoders: [TokenDecoder] = []
    /// Whether decoding without decoders puts a space between pieces, as a tokenizer.json without a decoder says.
    var joinsWithSpaces = false
    /// Ids put before and after a text.
    var prefix: [Int32] = []
    var suffix: [Int32] = []
    /// How two texts become one sequence; nil where nothing says so.
    var pair: PairTemplate?
    var addedTokens: [AddedToken] = []

    // Derived by `finish`.
    private(set) var rawTokens = AddedTokenMatcher([])
    private(set) var normalizedTokens = AddedTokenMatcher([])
    private(set) var addedByID: [Int32: AddedToken] = [:]
    private(set) var addedByContent: [[UInt8]: Int32] = [:]
    private(set) var size = 0
    /// Whether words reach the model as raw bytes rather than as characters of ``ByteAlphabet``.
    private(set) var modelReadsBytes = false
    /// Whether the last pre-tokenizer only turns text into bytes, which then is nothing to do.
    private(set) var endsInPlainBytes = false

    /// Ids of special roles.
    var beginOfSequence: Int32?
    var endOfSequence: Int32?
    var unknown: Int32?
    var padding: Int32?
    /// The marks that ask for the text between two others, where the file names them.
    var fillInMiddle: FillInMiddle?

    init(vocabulary: Vocabulary, model: TokenizerModel) {
        self.vocabulary = vocabulary
        self.model = model
    }

    /// Whether the pre-tokenizers end in bytes that a BPE model may read raw.
    static func endsInBytes(_ preTokenizers: [PreTokenizer]) -> Bool {
        guard case .byteLevel = preTokenizers.last else { return false }
        return !preTokenizers.dropLast().contains { if case .byteLevel = $0 { true } else { false } }
    }

    /// Derives what follows from the parts.
    mutating func finish() {
        if case .bpe(let model) = model { modelReadsBytes = model.byteIDs != nil }
        if modelReadsBytes, case .byteLevel(false, false) = preTokenizers.last { endsInPlainBytes = true }
        var raw: [AddedToken] = []
        var normalized: [AddedToken] = []
        size = vocabulary.size
        for var token in addedTokens {
            size = max(size, Int(token.id) + 1)
            addedByContent[token.content] = token.id
            if token.isNormalized, let normalizer { token.content = normalizer.apply(token.content) }
            addedByID[token.id] = token
            if token.content.isEmpty { continue }
            if token.isNormalized { normalized.append(token) } else { raw.append(token) }
        }
        rawTokens = AddedTokenMatcher(raw)
        normalizedTokens = AddedTokenMatcher(normalized)
    }

    /// The piece of an id as stored, or nil.
    func piece(_ id: Int32) -> [UInt8]? {
        if let added = addedByID[id] { return added.content }
        return vocabulary.contains(id: Int(id)) ? Array(vocabulary.bytes(of: Int(id))) : nil
    }

    /// The id of a piece, or nil.
    func id(of piece: [UInt8]) -> Int32? {
        if let added = addedByContent[piece] { return added }
        let id = piece.withUnsafeBufferPointer { vocabulary.find($0) }
        return id >= 0 ? id : nil
    }
}
