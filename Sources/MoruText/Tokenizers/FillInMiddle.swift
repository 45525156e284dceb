import MoruBase

/// How a model is asked for the text between two others: by marks of its vocabulary before the text that comes first,
/// before the text that comes last, and before what it is to write ("PSM"; Bavarian et al. 2022,
/// <https://arxiv.org/abs/2207.14255>).
public struct FillInMiddle: Sendable, Hashable {
    /// The mark before the text that comes first.
    public let prefix: Int32
    /// The mark before the text that comes last.
    public let suffix: Int32
    /// The mark before what is to be written.
    public let middle: Int32
    /// Tokens that end what is written, besides those that end every answer.
    public let ends: [Int32]

    /// The marks of a family of models, as its vocabularies spell them.
    private struct Convention {
        let marks: [String]
        var ends: [String] = []
    }

    private static let conventions = [
        // Qwen2.5-Coder; CodeGemma
        Convention(
            marks: ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"],
            ends: ["<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<|file_separator|>"]),
        // StarCoder, StarCoder2, Granite Code
        Convention(
            marks: ["<fim_prefix>", "<fim_suffix>", "<fim_middle>"],
            ends: ["<fim_pad>", "<repo_name>", "<file_sep>"]),
        // SantaCoder
        Convention(marks: ["<fim-prefix>", "<fim-suffix>", "<fim-middle>"], ends: ["<fim-pad>"]),
        // CodeLlama
        Convention(marks: ["▁<PRE>", "▁<SUF>", "▁<MID>"], ends: ["▁<EOT>"]),
        // DeepSeek-Coder: the hole stands between the two texts
        Convention(marks: ["<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"]),
        // GLM-4
        Convention(marks: ["<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"]),
    ]

    init(prefix: Int32, suffix: Int32, middle: Int32, ends: [Int32] = []) {
        (self.prefix, self.suffix, self.middle, self.ends) = (prefix, suffix, middle, ends)
    }

    /// The marks of a tokenizer: those that its GGUF file names (`tokenizer.ggml.fim_pre_token_id` and its kin), or those
    /// of a convention that its vocabulary has.
    ///
    /// - Throws: ``MoruError/Code/fillInMiddleUnsupported``, naming the tokens that are missing.
    public init(_ tokenizer: Tokenizer) throws(MoruError) {
        if let named = tokenizer.core.parts.fillInMiddle {
            self = named
            return
        }
        var nearest: (missing: [String], found: Int) = ([], 0)
        for convention in Self.conventions {
            let ids = convention.marks.map { tokenizer.id(of: $0) }
            if let prefix = ids[0], let suffix = ids[1], let middle = ids[2] {
                self.init(
                    prefix: prefix, suffix: suffix, middle: middle,
                    ends: convention.ends.compactMap { tokenizer.id(of: $0) })
                return
            }
            let missing = zip(convention.marks, ids).filter { $0.1 == nil }.map(\.0)
            if ids.count - missing.count > nearest.found { nearest = (missing, ids.count - missing.count) }
        }
        let missing =
            nearest.found > 0
            ? nearest.missing.joined(separator: " and ")
            : Self.conventions.map { $0.marks.joined(separator: " ") }.joined(separator: ", or ")
        throw MoruError(
            .fillInMiddleUnsupported, "the model cannot fill in text: its vocabulary lacks the tokens \(missing)",
            remedy: "use a model that was trained to, such as Qwen2.5-Coder, StarCoder2 or CodeLlama")
    }

    /// The prompt that asks for the text between two others.
    ///
    /// - Parameters:
    ///   - before: The text that comes first, as ids. What begins a sequence stays before the first mark.
    ///   - after: The text that comes last.
    public func prompt(before: [Int32], after: String, with tokenizer: Tokenizer) -> [Int32] {
        let begin = tokenizer.surroundingTokens.before
        let count = before.starts(with: begin) ? begin.count : 0
        return Array(before[..<count]) + [prefix] + before[count...] + [suffix]
            + tokenizer.encode(continuation: after) + [middle]
    }

    /// The prompt that asks for the text between two others.
    public func prompt(before: String, after: String, with tokenizer: Tokenizer) -> [Int32] {
        let begin = tokenizer.surroundingTokens.before
        return prompt(
            before: begin + tokenizer.encode(before, addSpecialTokens: false), after: after, with: tokenizer)
    }
}

extension Tokenizer {
    /// The ids of a text that stands within another: without the space that some vocabularies put before every text.
    func encode(continuation text: String) -> [Int32] {
        let ids = encode(text, addSpecialTokens: false)
        guard let letter = encode("a", addSpecialTokens: false).first, bytes(of: letter).first == 0x20 else {
            return ids
        }
        // The space goes to a character that nothing merges with, and goes with it
        let mark = "\u{263A}"
        let marked = encode(mark + text, addSpecialTokens: false)
        let alone = encode(mark, addSpecialTokens: false)
        return marked.starts(with: alone) ? Array(marked.dropFirst(alone.count)) : ids
    }
}
