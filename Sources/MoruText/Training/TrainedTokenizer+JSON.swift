import MoruBase

extension TokenizerTraining {
    /// The `tokenizer.json` of a byte-level BPE: special tokens, bytes, then what was merged.
    func fileJSON(_ result: BPETrainer.Result) -> JSON {
        func text(_ piece: [UInt8]) -> String { String(decoding: ByteAlphabet.encode(piece), as: UTF8.self) }
        var vocabulary = JSONObject()
        for (id, token) in specialTokens.enumerated() { vocabulary[token] = .int(id) }
        let texts = result.pieces.map(text)
        for (position, piece) in texts.enumerated() { vocabulary[piece] = .int(specialTokens.count + position) }
        let merges = result.merges.map { JSON.array([.string(texts[$0.left]), .string(texts[$0.right])]) }
        let byteLevel = { (splits: Bool) -> JSON in
            ["type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": .bool(splits)]
        }
        let preTokenizer: JSON =
            pattern == .gpt2
            ? byteLevel(true)
            : [
                "type": "Sequence",
                "pretokenizers": [
                    [
                        "type": "Split", "pattern": ["Regex": .string(pattern.scanner.pattern)],
                        "behavior": "Isolated", "invert": false,
                    ],
                    byteLevel(false),
                ],
            ]
        return file(
            firstSpecialID: 0, preTokenizer: preTokenizer, decoder: byteLevel(true),
            model: [
                "type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil,
                "end_of_word_suffix": nil, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                "vocab": .object(vocabulary), "merges": .array(merges),
            ])
    }

    /// The `tokenizer.json` of a unigram model: the unknown token, bytes, what was learnt, then special tokens.
    func fileJSON(_ result: UnigramTrainer.Result) -> JSON {
        // What stands for no text must never be the likeliest way to cut one
        let reserved = (result.pieces.map(\.score).min() ?? 0) - 200
        // Readers of JSON differ in the last bit of longer numbers, which decides between equally likely ways to cut a text
        func entry(_ piece: String, _ score: Double) -> JSON {
            .array([.string(piece), .double((score * 1e12).rounded() / 1e12)])
        }
        var vocabulary = [entry(UnigramTrainer.unknown, reserved)]
        for byte in 0..<256 {
            let digits = String(byte, radix: 16, uppercase: true)
            vocabulary.append(entry("<0x" + (byte < 16 ? "0" : "") + digits + ">", reserved))
        }
        for piece in result.pieces {
            vocabulary.append(entry(String(decoding: piece.bytes, as: UTF8.self), piece.score))
        }
        let metaspace: JSON = [
            "type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "never", "split": true,
        ]
        let lines: JSON = ["type": "Split", "pattern": ["String": "\n"], "behavior": "Isolated", "invert": false]
        return file(
            firstSpecialID: vocabulary.count,
            preTokenizer: ["type": "Sequence", "pretokenizers": [lines, metaspace]],
            decoder: ["type": "Sequence", "decoders": [["type": "ByteFallback"], metaspace]],
            model: ["type": "Unigram", "unk_id": 0, "vocab": .array(vocabulary), "byte_fallback": true])
    }

    private func file(firstSpecialID: Int, preTokenizer: JSON, decoder: JSON, model: JSON) -> JSON {
        let added = specialTokens.enumerated().map { offset, token -> JSON in
            [
                "id": .int(firstSpecialID + offset), "content": .string(token), "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true,
            ]
        }
        return [
            "version": "1.0", "truncation": nil, "padding": nil, "added_tokens": .array(added), "normalizer": nil,
            "pre_tokenizer": preTokenizer, "post_processor": nil, "decoder": decoder, "model": model,
        ]
    }
}
