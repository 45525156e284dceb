import MoruBase
import MoruModels
import MoruText

extension TestModels {
    /// A byte-level tokenizer: the 256 bytes in the order of their values, then ``byteTokenizerSpecials``.
    ///
    /// There are no merges, so that a text has as many ids as bytes, and id and byte are the same number.
    ///
    /// - Throws: What reading a tokenizer throws.
    public static func byteTokenizer() throws(MoruError) -> Tokenizer {
        var tokenizer = try Tokenizer(json: byteTokenizerJSON, source: "byte tokenizer")
        tokenizer.endOfSequence = tokenizer.id(of: "<|im_end|>")
        tokenizer.padding = tokenizer.id(of: "<|endoftext|>")
        return tokenizer
    }

    /// The special tokens of the byte tokenizer, from id 256 on.
    public static let byteTokenizerSpecials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]

    /// The ids of the byte tokenizer; a model for it needs a vocabulary at least as large.
    public static var byteTokenizerSize: Int { 256 + byteTokenizerSpecials.count }

    /// The byte tokenizer as a `tokenizer.json` holds it.
    public static var byteTokenizerJSON: JSON {
        let pieces = byteAlphabet.enumerated().map { (String($1), JSON.int($0)) }
        let specials = byteTokenizerSpecials.enumerated().map { offset, content -> JSON in
            [
                "id": .int(256 + offset), "content": .string(content), "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true,
            ]
        }
        let byteLevel: JSON = [
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false,
        ]
        return [
            "version": "1.0", "truncation": nil, "padding": nil, "added_tokens": .array(specials), "normalizer": nil,
            "pre_tokenizer": byteLevel, "post_processor": nil, "decoder": byteLevel,
            "model": [
                "type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil,
                "end_of_word_suffix": nil, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                "vocab": .object(JSONObject(pieces)), "merges": [],
            ],
        ]
    }

    /// The printable character that stands for each byte in GPT-2's vocabularies: the byte's own where it is printable,
    /// and one from U+0100 on where not.
    private static var byteAlphabet: [Character] {
        var next: UInt32 = 0x100
        return (0..<256).map { byte in
            let isPrintable = (0x21...0x7E).contains(byte) || (0xA1...0xAC).contains(byte) || byte >= 0xAE
            var value = UInt32(byte)
            if !isPrintable {
                value = next
                next += 1
            }
            return Unicode.Scalar(value).map { Character($0) } ?? "?"
        }
    }
}

extension TestModels {
    /// A whole model for tests of the text level: a tiny Llama, the byte tokenizer and ChatML.
    ///
    /// - Parameters:
    ///   - seed: The start of the random weights; nil for deterministic ones.
    ///   - contextLength: The most positions.
    /// - Throws: What building a model and a tokenizer throws.
    public static func tinyPretrained(
        seed: UInt64? = 1, contextLength: Int = 256, generationDefaults: GenerationDefaults? = nil
    ) throws -> PretrainedModel {
        guard var configuration = tinyLlamaConfiguration.object else {
            throw MoruError(.jsonUnexpected, "the tiny model's configuration is not an object")
        }
        configuration["vocab_size"] = .int(byteTokenizerSize)
        let tokenizer = try byteTokenizer()
        return PretrainedModel(
            model: try tinyLlama(seed: seed, contextLength: contextLength, configuration: .object(configuration)),
            tokenizer: tokenizer, chatTemplate: nil,
            generationDefaults: generationDefaults
                ?? GenerationDefaults(endIDs: tokenizer.endOfSequence.map { [$0] } ?? []),
            path: "tiny", storageDescription: "safetensors f32", license: nil)
    }
}
