import MoruBase
import MoruText
import Synchronization

/// A conversation with a model, which remembers what was said.
///
///     let chat = ChatSession(generator, system: "Answer briefly.")
///     for try await text in chat.send("What is the capital of France?") { print(text, terminator: "") }
public final class ChatSession: Sendable {
    /// What generates the answers.
    public let generator: TextGenerator
    private let state: Mutex<State>

    private struct State {
        var system: String?
        var turns: [ChatMessage] = []
        var options: GenerationOptions
        var isAnswering = false
        /// Counts new beginnings, so that an answer that was under way is not added to another conversation.
        var epoch = 0
        var last: (reason: FinishReason, usage: GenerationUsage)?

        var messages: [ChatMessage] { (system.map { [ChatMessage(role: "system", content: $0)] } ?? []) + turns }
    }

    /// A conversation in which nothing was said yet.
    public init(_ generator: TextGenerator, system: String? = nil, options: GenerationOptions = .init()) {
        self.generator = generator
        state = Mutex(State(system: system, options: options))
    }

    /// Everything said so far, the system message first.
    public var messages: [ChatMessage] { state.withLock { $0.messages } }

    /// What the model is told to be. Setting it keeps the conversation.
    public var system: String? {
        get { state.withLock { $0.system } }
        set { state.withLock { $0.system = newValue } }
    }

    /// How answers are generated.
    public var options: GenerationOptions {
        get { state.withLock { $0.options } }
        set { state.withLock { $0.options = newValue } }
    }

    /// How the last answer ended and what it cost; nil before the first.
    public var last: (reason: FinishReason, usage: GenerationUsage)? { state.withLock { $0.last } }

    /// Forgets everything said but the system message.
    public func reset() {
        state.withLock {
            $0.turns = []
            $0.epoch += 1
            $0.last = nil
        }
    }

    /// Says something to the model.
    ///
    /// The question and its answer become part of the conversation when the answer ends. When the reader stops before,
    /// they do with what was answered so far; when nothing was, or there is an error, neither does.
    ///
    /// - Returns: The answer in pieces. It throws ``MoruError/Code/sessionBusy`` while another answer is under way,
    ///   ``MoruError/Code/promptTooLong`` when the conversation no longer fits the context (nothing is ever left out
    ///   in silence), and what ``TextGenerator/stream(_:_:)`` throws.
    public func send(_ text: String) -> AsyncThrowingStream<String, any Error> {
        let (stream, continuation) = AsyncThrowingStream.makeStream(of: String.self)
        let question = ChatMessage(role: "user", content: text)
        let begun = state.withLock { state -> (messages: [ChatMessage], options: GenerationOptions, epoch: Int)? in
            if state.isAnswering { return nil }
            state.isAnswering = true
            return (state.messages + [question], state.options, state.epoch)
        }
        guard let begun else {
            continuation.finish(
                throwing: MoruError(
                    .sessionBusy, "the chat is still answering the last message",
                    remedy: "wait for the answer to end, or stop it"))
            return stream
        }
        let reader = Task {
            var answer = ""
            do {
                for try await event in generator.stream(.chat(begun.messages), begun.options) {
                    if case .text(let part) = event {
                        answer += part
                        continuation.yield(part)
                    }
                    if case .finished(let reason, let usage) = event {
                        state.withLock { if $0.epoch == begun.epoch { $0.last = (reason, usage) } }
                    }
                }
                end(begun.epoch, Task.isCancelled && answer.isEmpty ? nil : (question, answer))
                continuation.finish()
            } catch {
                end(begun.epoch, nil)
                continuation.finish(throwing: Self.explained(error))
            }
        }
        continuation.onTermination = { _ in reader.cancel() }
        return stream
    }

    private func end(_ epoch: Int, _ exchange: (question: ChatMessage, answer: String)?) {
        state.withLock { state in
            state.isAnswering = false
            guard let exchange, epoch == state.epoch else { return }
            state.turns += [exchange.question, ChatMessage(role: "assistant", content: exchange.answer)]
        }
    }

    private static func explained(_ error: any Error) -> any Error {
        guard let error = error as? MoruError, error.code == .promptTooLong else { return error }
        return MoruError(
            .promptTooLong, "the conversation no longer fits: \(error.message)",
            remedy: "begin a new conversation with /reset, or say less at once", cause: error.cause)
    }
}

extension ChatSession {
    /// The conversation as one line of a chat data set has it: `{"messages": [{"role": ..., "content": ...}, ...]}`.
    public var json: JSON { ["messages": .array(messages.map(\.json))] }

    /// Writes the conversation to a file.
    ///
    /// - Throws: ``MoruError/Code/fileUnwritable`` or ``MoruError/Code/diskFull``.
    public func save(to path: String) throws {
        try FileSystem.write(Array((json.text(pretty: true) + "\n").utf8), to: path)
    }

    /// Takes up a conversation that ``save(to:)`` wrote, instead of the present one.
    ///
    /// - Throws: ``MoruError/Code/historyMalformed``, naming the file and the message, or what reading throws; the
    ///   present conversation then stays.
    public func restore(from path: String) throws(MoruError) {
        let json = try JSON.parse(file: path)
        guard let items = json["messages"]?.array else {
            throw MoruError(
                .historyMalformed, "\(path) has no list \"messages\"", remedy: "use a file that a chat saved")
        }
        var messages: [ChatMessage] = []
        for (index, item) in items.enumerated() {
            do throws(MoruError) {
                messages.append(try ChatMessage(json: item))
            } catch {
                throw MoruError(
                    .historyMalformed, "\(path), message \(index): \(error.message)", remedy: error.remedy, cause: error
                )
            }
        }
        state.withLock { state in
            state.system = messages.first?.role == "system" ? messages.removeFirst().content : nil
            state.turns = messages
            state.epoch += 1
            state.last = nil
        }
    }
}
