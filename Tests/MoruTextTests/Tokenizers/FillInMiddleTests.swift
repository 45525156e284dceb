import MoruBase
import MoruText
import Testing

/// Prompts that ask for the text between two others.
struct FillInMiddleTests {
    /// A byte-level vocabulary: the printable characters of ASCII, with further tokens after them.
    private func byteLevel(_ added: [String], _ facts: Metadata = [:]) throws -> Tokenizer {
        let letters = (33..<127).map { String(UnicodeScalar($0)) } + ["Ġ", "Ċ"]
        let types = letters.map { _ in 1 } + added.map { _ in 3 }
        var metadata: Metadata = [
            "tokenizer.ggml.model": .string("gpt2"), "tokenizer.ggml.pre": .string("default"),
            "tokenizer.ggml.tokens": .strings(letters + added), "tokenizer.ggml.token_type": .ints(types),
            "tokenizer.ggml.merges": .strings([]),
        ]
        metadata.merge(facts) { $1 }
        return try Tokenizer(metadata: metadata, source: "test")
    }

    /// The pieces of a prompt.
    private func pieces(_ ids: [Int32], _ tokenizer: Tokenizer) -> [String] { ids.map { tokenizer.piece($0) ?? "?" } }

    @Test(arguments: [
        (["<|fim_suffix|>", "<|fim_prefix|>", "<|file_sep|>", "<|fim_middle|>"], [1, 0, 3], [2]),
        (["<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>"], [0, 2, 1], [3]),
        (["<fim-prefix>", "<fim-suffix>", "<fim-middle>"], [0, 1, 2], []),
        (["<｜fim▁hole｜>", "<｜fim▁begin｜>", "<｜fim▁end｜>"], [1, 0, 2], []),
        (["<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"], [0, 1, 2], []),
    ])
    func conventions(added: [String], marks: [Int], ends: [Int]) throws {
        let tokenizer = try byteLevel(added)
        let gap = try FillInMiddle(tokenizer)
        let names = marks.map { added[$0] }
        #expect(
            pieces(gap.prompt(before: "a b", after: "\nc", with: tokenizer), tokenizer)
                == [names[0], "a", "Ġ", "b", names[1], "Ċ", "c", names[2]])
        #expect(pieces(gap.ends, tokenizer) == ends.map { added[$0] })
        // Either side may be empty
        #expect(
            pieces(gap.prompt(before: "", after: "c", with: tokenizer), tokenizer) == [
                names[0], names[1], "c", names[2],
            ])
    }

    @Test func whatAFileNamesCounts() throws {
        let added = ["<P>", "<S>", "<M>", "<end>", "<fim_prefix>", "<fim_suffix>", "<fim_middle>"]
        for keys in [["fim_pre", "fim_suf", "fim_mid", "fim_sep"], ["prefix", "suffix", "middle", "eot"]] {
            let ids = keys.enumerated().map { ("tokenizer.ggml.\($1)_token_id", MetadataValue.int(96 + $0)) }
            let tokenizer = try byteLevel(added, Metadata(uniqueKeysWithValues: ids))
            let gap = try FillInMiddle(tokenizer)
            #expect(
                pieces([gap.prefix, gap.suffix, gap.middle] + gap.ends, tokenizer) == ["<P>", "<S>", "<M>", "<end>"])
        }
    }

    @Test func whatBeginsASequenceStaysBeforeTheMarks() throws {
        let tokenizer = try byteLevel(
            ["<s>", "<fim_prefix>", "<fim_suffix>", "<fim_middle>"],
            ["tokenizer.ggml.bos_token_id": .int(96), "tokenizer.ggml.add_bos_token": .bool(true)])
        let gap = try FillInMiddle(tokenizer)
        let wanted = ["<s>", "<fim_prefix>", "a", "<fim_suffix>", "b", "<fim_middle>"]
        #expect(pieces(gap.prompt(before: "a", after: "b", with: tokenizer), tokenizer) == wanted)
        let ids = tokenizer.encode("a")
        #expect(pieces(gap.prompt(before: ids, after: "b", with: tokenizer), tokenizer) == wanted)
        // Ids are taken as they are
        #expect(
            pieces(gap.prompt(before: Array(ids.dropFirst()), after: "b", with: tokenizer), tokenizer)
                == Array(wanted.dropFirst()))
    }

    /// CodeLlama: SentencePiece puts a space before the text that comes first, and none before the one that comes last.
    @Test func theTextAfterIsNoBeginning() throws {
        let tokens = ["<unk>", "<s>", "</s>", "▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>", "▁", "a", "b", "▁a", "☺"]
        let tokenizer = try Tokenizer(
            metadata: [
                "tokenizer.ggml.model": .string("llama"), "tokenizer.ggml.tokens": .strings(tokens),
                "tokenizer.ggml.token_type": .ints([2, 3, 3, 3, 3, 3, 3, 1, 1, 1, 1, 1]),
                "tokenizer.ggml.scores": .doubles([0, 0, 0, 0, 0, 0, 0, -5, -5, -5, -1, -5]),
                "tokenizer.ggml.bos_token_id": .int(1), "tokenizer.ggml.eos_token_id": .int(2),
                "tokenizer.ggml.unknown_token_id": .int(0),
            ], source: "test")
        let gap = try FillInMiddle(tokenizer)
        #expect(
            pieces(gap.prompt(before: "a", after: "ab", with: tokenizer), tokenizer)
                == ["<s>", "▁<PRE>", "▁a", "▁<SUF>", "a", "b", "▁<MID>"])
        #expect(
            pieces(gap.prompt(before: "ab", after: " a", with: tokenizer), tokenizer)
                == ["<s>", "▁<PRE>", "▁a", "b", "▁<SUF>", "▁a", "▁<MID>"])
        #expect(pieces(gap.ends, tokenizer) == ["▁<EOT>"])
    }

    @Test func saysWhichTokensAreMissing() throws {
        let partly = try byteLevel(["<fim_prefix>", "<fim_suffix>"])
        let error = try #require(throws: MoruError.self) { try FillInMiddle(partly) }
        #expect(error.code == .fillInMiddleUnsupported && error.message.contains("the tokens <fim_middle>"), "\(error)")
        #expect(!error.message.contains("PRE") && error.remedy != nil)
        let without = try byteLevel([])
        let other = try #require(throws: MoruError.self) { try FillInMiddle(without) }
        #expect(other.message.contains("<fim_middle>, or") && other.message.contains("▁<PRE>"), "\(other)")
    }
}
