import MoruBase
import MoruText

/// What an example says, for telling examples apart: what is asked, and what is answered.
///
/// System messages are left out of what is asked where something else is: they are the same in most examples and would
/// make all of them look alike.
struct ExampleText: Hashable {
    /// What is asked, or all of it where nothing is.
    let question: String
    /// The last answer; for a preference the chosen one.
    let answer: String
    /// Everything, the system message and a rejected answer included.
    let whole: String

    init(_ example: DataExample) {
        switch example {
        case .single(let single):
            (question, answer) = Self.parts(single)
            whole = Self.everything(single)
        case .pair(let pair):
            (question, answer) = Self.parts(pair.chosen)
            whole = Self.everything(pair.chosen) + "\u{0}" + Self.parts(pair.rejected).answer
        }
    }

    private static func parts(_ example: TrainingExample) -> (question: String, answer: String) {
        switch example {
        case .text(let text): return (text, "")
        case .completion(let prompt, let completion): return prompt.isEmpty ? (completion, "") : (prompt, completion)
        case .messages(let messages, _):
            let end = messages.lastIndex { $0.role == "assistant" } ?? messages.count
            let asked = messages[..<end].filter { $0.role != "system" }.map(\.content).joined(separator: "\n")
            let answer = end < messages.count ? messages[end].content : ""
            return asked.isEmpty ? (answer, "") : (asked, answer)
        }
    }

    private static func everything(_ example: TrainingExample) -> String {
        switch example {
        case .text(let text): text
        case .completion(let prompt, let completion): prompt + "\u{0}" + completion
        case .messages(let messages, _):
            messages.map { "\($0.role)\u{0}\($0.content)" }.joined(separator: "\u{0}")
        }
    }
}
