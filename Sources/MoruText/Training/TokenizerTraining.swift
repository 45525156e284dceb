import MoruBase

/// Trains a tokenizer on a corpus, in the layout of Hugging Face's `tokenizers`.
///
///     var training = TokenizerTraining(model: .bpe, vocabularySize: 8192)
///     let trained = try training.train { try documents.next() }
///     try trained.save(to: "tokenizer")
public struct TokenizerTraining: Sendable {
    /// The kinds of vocabulary.
    public enum Model: String, Sendable, Hashable, CaseIterable {
        /// Byte-level byte-pair encoding (Sennrich et al., 2016; Radford et al., 2019).
        case bpe
        /// A unigram language model with bytes to fall back on (Kudo, 2018).
        case unigram
    }

    /// How text is cut into words before byte-pair encoding.
    public enum Pattern: String, Sendable, Hashable, CaseIterable {
        /// GPT-2's.
        case gpt2
        /// Llama 3's: digits in threes, line feeds with what stands before them.
        case llama3

        var scanner: WordScanner { self == .gpt2 ? .gpt2 : .llama3(digits: 3) }
    }

    /// The kind of vocabulary.
    public var model: Model
    /// Ids in the end, those of the special tokens included.
    public var vocabularySize: Int
    /// How text is cut; for ``Model/bpe``.
    public var pattern: Pattern
    /// Tokens that stand for no text; the first ends a document.
    public var specialTokens: [String]
    /// Pairs that occur less often are not merged; for ``Model/bpe``.
    public var minimumFrequency: Int

    /// Makes a training.
    public init(
        model: Model = .bpe, vocabularySize: Int, pattern: Pattern = .llama3,
        specialTokens: [String] = ["<|endoftext|>"], minimumFrequency: Int = 2
    ) {
        self.model = model
        self.vocabularySize = vocabularySize
        self.pattern = pattern
        self.specialTokens = specialTokens
        self.minimumFrequency = minimumFrequency
    }

    /// What the training is doing.
    public enum Progress: Sendable, Hashable {
        /// Bytes of text counted.
        case counting(bytes: Int)
        /// Pieces of the vocabulary, on the way to the wanted number.
        case learning(pieces: Int, wanted: Int)
    }

    /// Trains on documents.
    ///
    /// - Parameters:
    ///   - nextDocument: The next document in UTF-8, or nil at the end.
    ///   - progress: Told now and then; returning false ends the training.
    /// - Throws: ``MoruError/Code/tokenizerTraining`` when there is too little text or the settings make no sense,
    ///   ``MoruError/Code/cancelled`` when `progress` says so, or what `nextDocument` throws.
    public func train(
        progress: (Progress) -> Bool = { _ in true }, _ nextDocument: () throws(MoruError) -> [UInt8]?
    ) throws(MoruError) -> TrainedTokenizer {
        try validate()
        var counter = WordCounter(model == .bpe ? .pattern(pattern.scanner) : .spaces)
        var reported = 0
        while let document = try nextDocument() {
            counter.add(document)
            guard counter.byteCount - reported >= 1 << 24 else { continue }
            reported = counter.byteCount
            if !progress(.counting(bytes: reported)) { throw Self.cancelled }
        }
        let words = counter.finish()
        guard words.count > 0 else {
            throw MoruError(.tokenizerTraining, "there is no text to train a tokenizer on")
        }
        var wasCancelled = false
        let wanted = vocabularySize - specialTokens.count
        func report(_ pieces: Int) -> Bool {
            if !progress(.learning(pieces: pieces, wanted: wanted)) { wasCancelled = true }
            return !wasCancelled
        }
        let json: JSON
        switch model {
        case .bpe:
            var trainer = BPETrainer(pieceCount: wanted, minimumFrequency: minimumFrequency)
            json = fileJSON(trainer.train(words, progress: report))
        case .unigram:
            let trainer = UnigramTrainer(pieceCount: wanted - UnigramTrainer.reservedCount)
            json = fileJSON(try trainer.train(words, progress: report))
        }
        if wasCancelled { throw Self.cancelled }
        var tokenizer = try Tokenizer(json: json, source: "the trained tokenizer")
        tokenizer.endOfSequence = specialTokens.first.flatMap { tokenizer.id(of: $0) }
        return TrainedTokenizer(
            tokenizer: tokenizer, json: json, textBytes: counter.byteCount, wordCount: words.count,
            isApproximate: counter.isApproximate)
    }

    private static var cancelled: MoruError {
        MoruError(.cancelled, "the training of the tokenizer was stopped", remedy: "start it again")
    }

    private func validate() throws(MoruError) {
        let least = 256 + specialTokens.count + (model == .unigram ? 1 + 64 : 0)
        guard least...1 << 22 ~= vocabularySize else {
            throw MoruError(
                .tokenizerTraining, "a vocabulary of \(vocabularySize) ids cannot be trained",
                remedy: "use \(least) (the bytes and the special tokens) to \(1 << 22)")
        }
        guard Set(specialTokens).count == specialTokens.count, !specialTokens.contains("") else {
            throw MoruError(
                .tokenizerTraining, "special tokens are empty or occur twice", remedy: "name each once")
        }
    }
}

/// A tokenizer that was trained.
public struct TrainedTokenizer: Sendable {
    /// The tokenizer.
    public let tokenizer: Tokenizer
    /// What `tokenizer.json` holds.
    public let json: JSON
    /// Bytes of text that it was trained on.
    public let textBytes: Int
    /// Different words in it.
    public let wordCount: Int
    /// Whether the rarest words were left out because there were too many to hold.
    public let isApproximate: Bool

    /// Writes `tokenizer.json` and `tokenizer_config.json` into a directory, which is made if need be.
    ///
    /// - Throws: What the file system throws.
    public func save(to directory: String) throws {
        try FileSystem.createDirectory(directory)
        try FileSystem.write((json.text() + "\n").utf8, to: directory + "/tokenizer.json")
        try FileSystem.write(
            (tokenizer.configurationJSON.text(pretty: true) + "\n").utf8, to: directory + "/tokenizer_config.json")
    }
}
