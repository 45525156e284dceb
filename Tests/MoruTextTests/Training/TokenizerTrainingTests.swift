import Foundation
import MoruBase
import MoruTestKit
import Testing

@testable import MoruText

/// Trained tokenizers: what they learn, and that others read them.
struct TokenizerTrainingTests {
    /// Prose, markup and scripts other than Latin.
    static let corpus = Array("\(SampleText.prose)\n\(markup)\n모루는 모루다. 1234567 🙂🙂 été naïve\t\ttab\r\n".utf8)

    private static let markup = """
        # Title

        | floor | target | may import |
        |---|---|---|
        | 0 | `Base` | – |
        | 1 | `Tensor` | Base |

            for (index, value) in values.enumerated() where value > 0 {
                print("\\(index): \\(value * 2)")
            }

        See [the guide](docs/guide.md#top) and <b>this</b>; a_b != a-b, x/y = 0.5e-3.
        """

    static func train(_ training: TokenizerTraining, _ documents: [[UInt8]]) throws -> TrainedTokenizer {
        var next = 0
        return try training.train { () throws(MoruError) in
            defer { next += 1 }
            return next < documents.count ? documents[next] : nil
        }
    }

    static func lines(_ text: [UInt8]) -> [[UInt8]] {
        text.split(separator: 0x0A, omittingEmptySubsequences: false).map { Array($0) + [0x0A] }
    }

    static let awkward = [
        "Hello, world!", " two  spaces\n\nand 1234 digits", "한국어 모루 🙂", "don't we'LL", "<|endoftext|>", "",
        "\u{2581}mark <0x0A> <unk>", "tab\tand\r\nreturn", "zzzzzzqqqqq \u{10FFFF}",
    ]

    @Test(arguments: TokenizerTraining.Model.allCases) func textSurvivesCodingAndDecoding(
        model: TokenizerTraining.Model
    ) throws {
        let trained = try Self.train(TokenizerTraining(model: model, vocabularySize: 700), [Self.corpus])
        #expect(trained.tokenizer.vocabularySize == 700)
        for text in Self.awkward {
            let ids = trained.tokenizer.encode(text, parseSpecial: false)
            // The one mark that the unigram layout spells spaces with is read back as a space
            let expected = model == .unigram ? text.replacing("\u{2581}", with: " ") : text
            #expect(trained.tokenizer.decode(ids) == expected)
            #expect(!ids.contains { trained.tokenizer.isSpecial($0) })
        }
        let end = try #require(trained.tokenizer.endOfSequence)
        #expect(trained.tokenizer.encode("<|endoftext|>") == [end] && trained.tokenizer.isSpecial(end))
        let bytes = Self.corpus.count
        #expect(trained.textBytes == bytes && !trained.isApproximate)
        #expect(trained.tokenizer.encode(utf8: Self.corpus).count * 2 < bytes, "hardly anything was learnt")
    }

    @Test(arguments: TokenizerTraining.Model.allCases) func savedFilesAreReadBack(
        model: TokenizerTraining.Model
    ) throws {
        let directory = TestNeeds.temporaryPath("tokenizer")
        defer { FileSystem.remove(directory) }
        let trained = try Self.train(TokenizerTraining(model: model, vocabularySize: 600), [Self.corpus])
        try trained.save(to: directory)
        let (read, _) = try Tokenizer.load(directory: directory)
        expectEqual(read.encode(utf8: Self.corpus), trained.tokenizer.encode(utf8: Self.corpus))
        #expect(read.endOfSequence == trained.tokenizer.endOfSequence && read.endOfSequence != nil)
    }

    @Test(arguments: TokenizerTraining.Model.allCases, [TokenizerTraining.Pattern.gpt2, .llama3])
    func aLongDocumentIsCutWhereNothingChanges(
        model: TokenizerTraining.Model, pattern: TokenizerTraining.Pattern
    ) throws {
        let cut: WordCounter.Cut = model == .bpe ? .pattern(pattern.scanner) : .spaces
        let document = Self.corpus
        var whole = WordCounter(cut, pieceBytes: 500)
        whole.add(document)
        let table = WordTable()
        var position = 0
        if case .pattern(let scanner) = cut {
            document.withUnsafeBufferPointer { bytes in
                while position < bytes.count {
                    let end = scanner.wordEnd(bytes.baseAddress!, position, bytes.count, UnicodeTable.shared)
                    table.add(bytes.baseAddress! + position, end - position)
                    position = end
                }
            }
            let (found, expected) = (whole.finish(), table.sorted())
            #expect(found.bytes == expected.bytes && found.counts == expected.counts)
        } else {
            var lines = WordCounter(cut)
            for line in Self.lines(document).dropLast() { lines.add(line) }
            lines.add(Array(Self.lines(document).last?.dropLast() ?? []))
            let (found, expected) = (whole.finish(), lines.finish())
            #expect(found.bytes == expected.bytes && found.counts == expected.counts)
        }
    }

    /// The merges that counting everything anew for each of them gives.
    @Test func mergesAreThoseOfTheDefinition() {
        var generator = SplitMix64(seed: 5)
        for _ in 0..<20 {
            let table = WordTable()
            for _ in 0..<40 {
                let word = (0..<Int.random(in: 1...9, using: &generator)).map { _ in
                    UInt8.random(in: UInt8(ascii: "a")...UInt8(ascii: "c"), using: &generator)
                }
                word.withUnsafeBufferPointer {
                    table.add($0.baseAddress!, $0.count, times: Int.random(in: 1...3, using: &generator))
                }
            }
            let words = table.sorted()
            var trainer = BPETrainer(pieceCount: 256 + 25, minimumFrequency: 2)
            let found = trainer.train(words)
            let expected = Self.naiveMerges(words, pieces: Array(found.pieces[..<256]), wanted: 281)
            #expect(found.merges.map { [$0.left, $0.right] } == expected)
        }
    }

    private static func naiveMerges(_ words: WordList, pieces: [[UInt8]], wanted: Int) -> [[Int]] {
        var pieces = pieces
        var texts = (0..<words.count).map { word in
            words.bytes[words.range(word)].map { byte in pieces.firstIndex(of: [byte]) ?? 0 }
        }
        var merges: [[Int]] = []
        while pieces.count < wanted {
            var counts: [[Int]: Int] = [:]
            for (text, count) in zip(texts, words.counts) {
                for pair in zip(text, text.dropFirst()) { counts[[pair.0, pair.1], default: 0] += count }
            }
            // A pair that was merged can only stand in an overlap, as in "aaa": it is not merged again
            let open = counts.filter { $0.value >= 2 && !merges.contains($0.key) }
            guard
                let best = open.min(by: { a, b in
                    a.value != b.value ? a.value > b.value : a.key.lexicographicallyPrecedes(b.key)
                })?.key
            else { break }
            merges.append(best)
            let piece = pieces[best[0]] + pieces[best[1]]
            let id = pieces.firstIndex(of: piece) ?? pieces.count
            if id == pieces.count { pieces.append(piece) }
            texts = texts.map { text in
                var result: [Int] = []
                var position = 0
                while position < text.count {
                    let isPair = position + 1 < text.count && [text[position], text[position + 1]] == best
                    result.append(isPair ? id : text[position])
                    position += isPair ? 2 : 1
                }
                return result
            }
        }
        return merges
    }

    /// Expected counts over all ways to cut a word, by writing them all down.
    @Test func latticesCountAsTheDefinitionSays() {
        let pieces = [("a", -1.0), ("b", -1.5), ("ab", -2.0), ("ba", -2.2), ("aba", -2.5), ("bb", -4.0)].map {
            UnigramTrainer.Piece(bytes: Array($0.utf8), score: $1)
        }
        let lattice = UnigramLattice(pieces)
        for word in ["a", "abab", "babba", "aababab"] {
            let bytes = Array(word.utf8)
            var ways: [(ids: [Int], score: Double)] = []
            func extend(_ ids: [Int], _ position: Int, _ score: Double) {
                if position == bytes.count { return ways.append((ids, score)) }
                for (id, piece) in pieces.enumerated() where bytes[position...].starts(with: piece.bytes) {
                    extend(ids + [id], position + piece.bytes.count, score + piece.score)
                }
            }
            extend([], 0, 0)
            let total = ways.reduce(0) { $0 + exp($1.score) }
            var expected = [Double](repeating: 0, count: pieces.count)
            for way in ways {
                for id in way.ids { expected[id] += 3 * exp(way.score) / total }
            }
            var (found, scratch) = ([Double](repeating: 0, count: pieces.count), UnigramLattice.Scratch())
            let result = bytes.withUnsafeBufferPointer {
                lattice.expect($0.baseAddress!, $0.count, times: 3, into: &found, &scratch)
            }
            #expect(abs(result.logProbability - log(total)) < 1e-9)
            #expect(zip(found, expected).allSatisfy { abs($0 - $1) < 1e-9 }, "\(word)")
            let best = bytes.withUnsafeBufferPointer { lattice.best($0.baseAddress!, $0.count, &scratch) }
            #expect(abs(best.score - (ways.map(\.score).max() ?? 0)) < 1e-9)
        }
        #expect(
            abs(digamma(1) + 0.577_215_664_901_532_9) < 1e-10 && abs(digamma(3.25) - digamma(2.25) - 1 / 2.25) < 1e-10)
    }

    @Test func settingsThatMakeNoSenseAreRefused() {
        for training in [
            TokenizerTraining(vocabularySize: 100), TokenizerTraining(model: .unigram, vocabularySize: 300),
            TokenizerTraining(vocabularySize: 500, specialTokens: ["<a>", "<a>"]),
        ] {
            let error = #expect(throws: MoruError.self) { try Self.train(training, [Self.corpus]) }
            #expect(error?.code == .tokenizerTraining)
        }
        #expect(throws: MoruError.self) { try Self.train(TokenizerTraining(vocabularySize: 500), []) }
        #expect(throws: MoruError.self) {
            try Self.train(TokenizerTraining(model: .unigram, vocabularySize: 5000), [Array("too little".utf8)])
        }
    }

    /// The merges of the `tokenizers` library's own trainer, and the ids that it gives with what is saved here.
    @Test(.tags(.golden), .enabled(if: TestNeeds.python != nil), arguments: TokenizerTraining.Model.allCases)
    func theTokenizersLibraryAgrees(model: TokenizerTraining.Model) throws {
        let directory = TestNeeds.temporaryPath("tokenizer")
        defer { FileSystem.remove(directory) }
        var training = TokenizerTraining(
            model: model, vocabularySize: model == .bpe ? 900 : 700, pattern: .gpt2)
        training.minimumFrequency = 0
        let trained = try Self.train(training, Self.lines(Self.corpus).dropLast())
        try trained.save(to: directory)
        let texts = Self.awkward + [String(decoding: Self.corpus, as: UTF8.self)]
        try FileSystem.write(JSON.array(texts.map { .string($0) }).text().utf8, to: directory + "/texts.json")
        try FileSystem.write(Self.corpus, to: directory + "/corpus.txt")
        let program = """
            import json, sys
            from tokenizers import Tokenizer, models, pre_tokenizers, trainers
            directory = sys.argv[1]
            ours = Tokenizer.from_file(directory + "/tokenizer.json")
            texts = json.load(open(directory + "/texts.json", encoding="utf-8"))
            lines = open(directory + "/corpus.txt", "rb").read().decode().split("\\n")[:-1]
            theirs = Tokenizer(models.BPE())
            theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
            theirs.train_from_iterator([line + "\\n" for line in lines], trainers.BpeTrainer(
                vocab_size=900, special_tokens=["<|endoftext|>"], show_progress=False,
                initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
            print(json.dumps({"ids": [ours.encode(text).ids for text in texts],
                              "merges": json.loads(theirs.to_str())["model"]["merges"]}))
            """
        let printed = try TestNeeds.runPython(program, arguments: [directory])
        let answer = try JSON.parse(printed, source: "tokenizers")
        for (text, ids) in zip(texts, answer["ids"]?.array ?? []) {
            #expect(trained.tokenizer.encode(text).map(Int.init) == ids.ints, "\(text.prefix(40))")
        }
        #expect(answer["ids"]?.array?.count == texts.count)
        if model == .bpe { #expect(trained.json["model"]?["merges"] == answer["merges"]) }
    }
}
