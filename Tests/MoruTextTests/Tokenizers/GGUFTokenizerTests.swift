import MoruBase
import MoruText
import Testing

@Suite struct GGUFTokenizerTests {
    /// Metadata written as JSON.
    static func metadata(_ json: JSON) throws -> Metadata {
        var metadata: Metadata = [:]
        for (key, value) in try #require(json.object).members {
            switch value {
            case .int(let value): metadata[key] = .int(value)
            case .double(let value): metadata[key] = .double(value)
            case .bool(let value): metadata[key] = .bool(value)
            case .string(let value): metadata[key] = .string(value)
            case .array(let values):
                if case .string = values.first {
                    metadata[key] = .strings(values.compactMap(\.string))
                } else if values.allSatisfy({ if case .int = $0 { true } else { false } }) {
                    metadata[key] = .ints(values.compactMap(\.int))
                } else {
                    metadata[key] = .doubles(values.compactMap(\.double))
                }
            default: break
            }
        }
        return metadata
    }

    /// The metadata a converter would write for one of the golden tokenizers.
    private func converted(_ name: String, _ facts: Metadata) throws -> Metadata {
        let json = try JSON.parse(file: "\(TokenizerGolden.folder)/\(name).tokenizer.json")
        let model = try #require(json["model"])
        var tokens: [String] = []
        var scores: [Double] = []
        if let list = model["vocab"]?.array {
            tokens = list.compactMap { $0[0]?.string }
            scores = list.compactMap { $0[1]?.double }
        } else {
            let vocab = try #require(model["vocab"]?.object)
            tokens = vocab.members.sorted { ($0.value.int ?? 0) < ($1.value.int ?? 0) }.map(\.key)
        }
        var types = [Int](repeating: 1, count: tokens.count)
        for token in json["added_tokens"]?.array ?? [] {
            if let id = token["id"]?.int, id < types.count { types[id] = 3 }
        }
        var metadata: Metadata = [
            "tokenizer.ggml.tokens": .strings(tokens), "tokenizer.ggml.token_type": .ints(types),
        ]
        if !scores.isEmpty { metadata["tokenizer.ggml.scores"] = .doubles(scores) }
        if let merges = model["merges"]?.array {
            metadata["tokenizer.ggml.merges"] = .strings(
                merges.compactMap { $0.string ?? $0.array?.compactMap(\.string).joined(separator: " ") })
        }
        return metadata.merging(facts) { $1 }
    }

    @Test(arguments: [
        ("gpt2", "gpt-2"), ("gpt2", "default"), ("smollm", "smollm"), ("llama3", "llama-bpe"), ("qwen2", "qwen2"),
        ("o200k", "gpt-4o"),
    ])
    func byteLevelModels(name: String, pre: String) throws {
        let metadata = try converted(
            name,
            [
                "tokenizer.ggml.model": .string("gpt2"), "tokenizer.ggml.pre": .string(pre),
                "tokenizer.ggml.bos_token_id": .int(0), "tokenizer.ggml.eos_token_id": .int(2),
            ])
        let tokenizer = try Tokenizer(metadata: metadata, source: "test")
        #expect(tokenizer.beginOfSequence == 0 && tokenizer.endOfSequence == 2)
        try TokenizerGolden(name).check(tokenizer)
    }

    @Test func sentencePieceByScore() throws {
        let json = try JSON.parse(file: "\(TokenizerGolden.folder)/sentencepiece.metadata.json")
        let tokenizer = try Tokenizer(metadata: try Self.metadata(json), source: "test")
        try TokenizerGolden("sentencepiece").check(tokenizer)
    }

    @Test func wordPieceWithItsMarksTurnedRound() throws {
        var metadata = try converted(
            "bert",
            [
                "tokenizer.ggml.model": .string("bert"), "tokenizer.ggml.cls_token_id": .int(2),
                "tokenizer.ggml.seperator_token_id": .int(3), "tokenizer.ggml.unknown_token_id": .int(1),
            ])
        let tokens = try #require(metadata["tokenizer.ggml.tokens"]?.strings)
        metadata["tokenizer.ggml.tokens"] = .strings(
            tokens.enumerated().map { index, token in
                index < 5 ? token : token.hasPrefix("##") ? String(token.dropFirst(2)) : "▁" + token
            })
        let tokenizer = try Tokenizer(metadata: metadata, source: "test")
        for each in try TokenizerGolden("bert").cases {
            #expect(tokenizer.encode(each.text) == each.ids, "\(each.text)")
        }
    }

    @Test func unigram() throws {
        let metadata = try converted(
            "t5",
            [
                "tokenizer.ggml.model": .string("t5"), "tokenizer.ggml.unknown_token_id": .int(2),
                "tokenizer.ggml.eos_token_id": .int(1),
            ])
        let tokenizer = try Tokenizer(metadata: metadata, source: "test")
        for text in ["The anvil stands where the old smith left it.", "안녕하세요, 모루입니다!", "a<unk>b </s>"] {
            let expected = try TokenizerTests.load("t5").encode(text)
            #expect(tokenizer.encode(text) == expected)
        }
    }

    @Test(
        arguments: [
            ("tokenizer.ggml.model", nil, "model"), ("tokenizer.ggml.model", .string("rwkv"), "rwkv"),
            ("tokenizer.ggml.pre", .string("tekken-9"), "tekken-9"), ("tokenizer.ggml.tokens", nil, "tokens"),
            ("tokenizer.ggml.tokens", .ints([1]), "tokens"), ("tokenizer.ggml.merges", nil, "merges"),
            ("tokenizer.ggml.merges", .strings(["a"]), "merges"),
            ("tokenizer.ggml.merges", .strings(["zz qq"]), "merges"),
            ("tokenizer.ggml.token_type", .ints([1, 2]), "token_type"),
            ("tokenizer.ggml.eos_token_id", .int(1 << 40), "eos_token_id"),
            ("tokenizer.ggml.bos_token_id", .int(-1), "bos"),
            ("tokenizer.ggml.add_bos_token", .bool(true), "bos_token_id"),
            ("tokenizer.ggml.add_bos_token", .string("yes"), "add_bos_token"),
        ] as [(String, MetadataValue?, String)])
    func namesTheKeyThatIsWrong(key: String, value: MetadataValue?, expected: String) throws {
        var metadata = try converted(
            "gpt2", ["tokenizer.ggml.model": .string("gpt2"), "tokenizer.ggml.pre": .string("gpt-2")])
        metadata[key] = value
        let error = #expect(throws: MoruError.self) { try Tokenizer(metadata: metadata, source: "x.gguf") }
        #expect(error?.message.hasPrefix("x.gguf") == true && error?.message.contains(expected) == true)
        #expect(error?.code == .tokenizerMalformed || error?.code == .tokenizerUnsupported)
    }
}
