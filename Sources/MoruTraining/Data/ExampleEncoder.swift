import Foundation
import MoruBase
import MoruModels
import MoruText

/// Turns examples into tokens, and tells which of them are to be learnt.
public struct ExampleEncoder: Sendable {
    /// Whose tokens they are.
    public let tokenizer: Tokenizer
    /// How conversations become text.
    public let template: ChatTemplate
    /// What the template may use besides the messages, such as `bos_token`.
    public let variables: JSONObject
    /// Which parts of an example are learnt.
    public var learned = LearnedRoles.assistant

    /// What templates that print the date are told, so that data does not change from day to day: 26 July 2024, the
    /// day that Llama's templates name when they know none.
    static let now = Date(timeIntervalSince1970: 1_721_995_200)

    /// Makes an encoder.
    public init(tokenizer: Tokenizer, template: ChatTemplate, variables: JSONObject = JSONObject()) {
        self.tokenizer = tokenizer
        self.template = template
        self.variables = variables
    }

    /// The encoder of a model: its tokenizer and template, ChatML where it has none.
    public init(_ model: PretrainedModel) {
        self.init(
            tokenizer: model.tokenizer, template: model.chatTemplate ?? .chatML, variables: model.templateVariables)
    }

    /// The tokens of an example.
    ///
    /// Of a conversation the turns of ``learned`` roles are learnt, each with the token that ends it; of a prompt and
    /// completion the completion and the end of sequence; of a text everything.
    ///
    /// - Throws: What the template throws.
    public func encode(_ example: TrainingExample) throws(MoruError) -> TokenizedExample {
        switch example {
        case .messages(let messages, let tools): return try encode(messages, tools)
        case .completion(let prompt, let completion):
            let (middle, end) = (prompt.utf8.count, (prompt + completion).utf8.count)
            let ranges = [
                learned.contains("user") ? [0..<middle] : [], learned.contains("assistant") ? [middle..<end] : [],
            ]
            let encoded = encode(
                prompt + completion, learning: ranges.flatMap { $0 }, addSpecialTokens: true, endsTurns: false)
            return ending(encoded, isTarget: learned.contains("assistant"))
        case .text(let text):
            let tokens = tokenizer.encode(text, addSpecialTokens: true)
            return ending(
                TokenizedExample(tokens: tokens, isTarget: Array(repeating: true, count: tokens.count)), isTarget: true)
        }
    }

    private func encode(_ messages: [ChatMessage], _ tools: [JSON]?) throws(MoruError) -> TokenizedExample {
        // Templates see a message as it would be without the mark
        let shown = messages.map { message in
            var message = message
            message.extra["weight"] = nil
            return message
        }
        let isMarked = messages.contains(where: ExampleParser.isExcluded)
        if learned == .assistant, !isMarked {
            let (text, ranges) = try template.renderConversation(
                messages: shown, tools: tools, extra: variables, now: Self.now)
            return encode(text, learning: ranges, addSpecialTokens: false, endsTurns: true)
        }
        if learned == .all, !isMarked {
            let text = try template.render(
                messages: shown, addGenerationPrompt: false, tools: tools, extra: variables, now: Self.now)
            return encode(text, learning: [0..<text.utf8.count], addSpecialTokens: false, endsTurns: false)
        }
        let turns = messages.indices.filter {
            learned.contains(messages[$0].role) && !ExampleParser.isExcluded(messages[$0])
        }
        let (text, found) = try template.renderConversation(
            messages: shown, locating: turns, tools: tools, extra: variables, now: Self.now)
        var learnt: [Range<Int>] = []
        for (turn, ranges) in zip(turns, found) {
            if learned == .all || messages[turn].role == "assistant" {
                learnt += ranges
            } else {
                let begin = try contentBegin(of: turn, in: shown, tools, text)
                learnt += ranges.map { max($0.lowerBound, min(begin, $0.upperBound))..<$0.upperBound }
            }
        }
        return encode(text, learning: learnt, addSpecialTokens: false, endsTurns: true)
    }

    /// Where the content of a message begins in the text, after the header that names its role: where the text would
    /// differ if the message said something else.
    private func contentBegin(
        of turn: Int, in messages: [ChatMessage], _ tools: [JSON]?, _ text: String
    ) throws(MoruError) -> Int {
        var other = messages
        other[turn].content = "\u{F8FF}"
        let otherText = try template.render(
            messages: other, addGenerationPrompt: false, tools: tools, extra: variables, now: Self.now)
        let bytes = Array(text.utf8)
        var begin = zip(bytes, otherText.utf8).prefix { $0 == $1 }.count
        // not in the middle of a character
        while begin > 0, begin < bytes.count, bytes[begin] & 0xC0 == 0x80 { begin -= 1 }
        return begin
    }

    /// The tokens of a text, those in some of its UTF-8 ranges to be learnt.
    private func encode(
        _ text: String, learning ranges: [Range<Int>], addSpecialTokens: Bool, endsTurns: Bool
    ) -> TokenizedExample {
        let bytes = Array(text.utf8)
        let tokens = tokenizer.encode(text, addSpecialTokens: addSpecialTokens, parseSpecial: true)
        // A text's first tokens are those of its beginning. Where the end of the beginning falls into a token, that
        // token counts as after it.
        func tokensBefore(_ offset: Int) -> Int {
            let prefix = tokenizer.encode(
                utf8: Array(bytes[..<offset]), addSpecialTokens: addSpecialTokens, parseSpecial: true)
            return zip(tokens, prefix).prefix { $0 == $1 }.count
        }
        var isTarget = Array(repeating: false, count: tokens.count)
        for range in ranges {
            let begin = tokensBefore(range.lowerBound)
            var end = range.upperBound == bytes.count ? tokens.count : tokensBefore(range.upperBound)
            if endsTurns { end = turnEnd(tokens, begin..<max(begin, end)) }
            for position in begin..<max(begin, end) { isTarget[position] = true }
        }
        return TokenizedExample(tokens: tokens, isTarget: isTarget)
    }

    /// Where a turn ends: templates put a line break after the token that ends it, which generation never reaches.
    private func turnEnd(_ tokens: [Int32], _ range: Range<Int>) -> Int {
        guard let last = tokens[range].lastIndex(where: tokenizer.isSpecial) else { return range.upperBound }
        let rest = tokenizer.decode(tokens[(last + 1)..<range.upperBound])
        return rest.allSatisfy(\.isWhitespace) ? last + 1 : range.upperBound
    }

    /// An example with the end of sequence as its last token, where the model has one.
    private func ending(_ example: TokenizedExample, isTarget: Bool) -> TokenizedExample {
        guard let end = tokenizer.endOfSequence, example.tokens.last != end else { return example }
        return TokenizedExample(tokens: example.tokens + [end], isTarget: example.isTarget + [isTarget])
    }
}
