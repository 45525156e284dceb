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
        func render(_ count: Int, prompt: Bool) throws(MoruError) -> Rendering {
            let part = Array(messages.prefix(count))
            return try run(
                Self.variables(part, addGenerationPrompt: prompt, tools: tools, extra: extra), now: now)
        }
        let whole = try render(messages.count, prompt: false)
        if hasGenerationBlocks, !whole.hasLostGeneration {
            return (whole.text, whole.generationRanges.filter { !$0.isEmpty })
        }
        var ranges: [Range<Int>] = []
        for (position, message) in messages.enumerated() where message.role == "assistant" {
            let before = try render(position, prompt: true).text
            let through = position + 1 == messages.count ? whole.text : try render(position + 1, prompt: false).text
            guard through.utf8.starts(with: before.utf8), whole.text.utf8.starts(with: through.utf8) else {
                throw MoruError(
                    .templateNotIncremental,
                    "\(name): the text up to message \(position + 1) of \(messages.count) is no prefix of the text "
                        + "with that message, so the assistant's part cannot be told",
                    remedy: "mark the assistant's text in the template with {% generation %} ... {% endgeneration %}")
            }
            if through.utf8.count > before.utf8.count { ranges.append(before.utf8.count..<through.utf8.count) }
        }
        return (whole.text, ranges)
    }
}
