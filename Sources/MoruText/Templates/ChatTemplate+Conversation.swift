import Foundation
import MoruBase

extension ChatTemplate {
    /// Renders a whole conversation and tells which of its text the assistant said, for training on that alone.
    ///
    /// Where the template marks the assistant's text with `{% generation %}` blocks, those are the ranges. Otherwise
    /// the text of the assistant's message `i` is what the conversation up to and including it adds to the
    /// conversation before it with the generation prompt. That needs a template that only ever appends: one that
    /// rewrites earlier turns (by leaving out old reasoning, say) is refused rather than mislabelled.
    ///
    /// - Parameters:
    ///   - messages: The conversation.
    ///   - tools: Descriptions of the tools that the model may call.
    ///   - extra: More variables, such as `bos_token` or `eos_token`.
    ///   - now: The time that `strftime_now` tells.
    /// - Returns: The text, and the assistant's ranges as UTF-8 offsets into it, in order.
    /// - Throws: ``MoruError/Code/templateNotIncremental``, or as
    ///   ``render(messages:addGenerationPrompt:tools:extra:now:)``.
    public func renderConversation(
        messages: [ChatMessage], tools: [JSON]? = nil, extra: JSONObject = JSONObject(), now: Date = Date()
    ) throws(MoruError) -> (text: String, assistantRanges: [Range<Int>]) {
        let whole = try rendering(messages, prompt: false, tools, extra, now)
        if hasGenerationBlocks, !whole.hasLostGeneration {
            return (whole.text, whole.generationRanges.filter { !$0.isEmpty })
        }
        let turns = messages.indices.filter { messages[$0].role == "assistant" }
        let ranges = try self.ranges(of: turns, in: messages, whole.text, tools, extra, now)
        return (whole.text, ranges.filter { !$0.isEmpty })
    }

    /// Renders a conversation and tells where some of its messages are, for training on those alone.
    ///
    /// An assistant's message is as in ``renderConversation(messages:tools:extra:now:)``; another one's is all that it
    /// adds to the conversation before it, with the header that names its role.
    ///
    /// - Parameter turns: The messages' numbers, counted from 0.
    /// - Returns: The text, and for each of the messages its ranges as UTF-8 offsets.
    /// - Throws: As ``renderConversation(messages:tools:extra:now:)``.
    public func renderConversation(
        messages: [ChatMessage], locating turns: [Int], tools: [JSON]? = nil, extra: JSONObject = JSONObject(),
        now: Date = Date()
    ) throws(MoruError) -> (text: String, ranges: [[Range<Int>]]) {
        let whole = try rendering(messages, prompt: false, tools, extra, now)
        let found = try ranges(of: turns, in: messages, whole.text, tools, extra, now)
        let marked = hasGenerationBlocks && !whole.hasLostGeneration ? whole.generationRanges : nil
        let ranges = zip(turns, found).map { turn, range in
            guard let marked, messages[turn].role == "assistant" else { return [range] }
            return marked.map { $0.clamped(to: range) }
        }
        return (whole.text, ranges.map { $0.filter { !$0.isEmpty } })
    }

    private func rendering(
        _ messages: [ChatMessage], prompt: Bool, _ tools: [JSON]?, _ extra: JSONObject, _ now: Date
    ) throws(MoruError) -> Rendering {
        try run(Self.variables(messages, addGenerationPrompt: prompt, tools: tools, extra: extra), now: now)
    }

    /// What each of some messages adds to the text before it.
    private func ranges(
        of turns: [Int], in messages: [ChatMessage], _ whole: String, _ tools: [JSON]?, _ extra: JSONObject,
        _ now: Date
    ) throws(MoruError) -> [Range<Int>] {
        var ranges: [Range<Int>] = []
        for turn in turns {
            let isAnswer = messages[turn].role == "assistant"
            // Templates may refuse a conversation without messages, and there is nothing before the first anyway
            let before =
                turn == 0 && !isAnswer
                ? "" : try rendering(Array(messages[..<turn]), prompt: isAnswer, tools, extra, now).text
            let through =
                turn + 1 == messages.count
                ? whole : try rendering(Array(messages[...turn]), prompt: false, tools, extra, now).text
            guard through.utf8.starts(with: before.utf8), whole.utf8.starts(with: through.utf8) else {
                throw MoruError(
                    .templateNotIncremental,
                    "\(name): the text up to message \(turn + 1) of \(messages.count) is not a prefix of the text "
                        + "with that message, so the \(messages[turn].role)'s part cannot be told",
                    remedy: "mark the assistant's text in the template with {% generation %} ... {% endgeneration %}")
            }
            ranges.append(before.utf8.count..<max(before.utf8.count, through.utf8.count))
        }
        return ranges
    }
}
