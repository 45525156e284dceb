import ArgumentParser
import Foundation
import MoruBase
import MoruEngine
import MoruText

/// `moru chat`: a conversation in the terminal.
struct Chat: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Chat with a model in the terminal.",
        usage: "moru chat <model> [<options>]",
        discussion: """
            Answers stream as they are generated. Ctrl-C stops an answer; at the prompt it
            ends the chat, as does Ctrl-D. A line that ends with \\ continues on the next
            line. Commands: /help, /system [TEXT], /reset, /save FILE, /load FILE, /exit.

            Examples:
              moru chat smollm2-135m-instruct
              moru chat smollm2-135m-instruct --system 'Be brief.' --temperature 0.7
            """)

    @OptionGroup var model: ModelArgument
    @Option(parsing: .unconditional, help: "The system message.")
    var system: String?
    @Option(
        name: .customLong("max-tokens"), parsing: .unconditional, help: "The maximum number of tokens in an answer.")
    var maximumTokens: Int?
    @OptionGroup var sampling: SamplingOptions
    @OptionGroup var adapter: AdapterOption
    @OptionGroup var engine: EngineOptions

    func validate() throws {
        if let maximumTokens, maximumTokens < 1 { throw ValidationError("--max-tokens must be at least 1.") }
    }

    func run() async throws {
        let pretrained = try model.loadToGenerate()
        var options = GenerationOptions(maximumTokens: maximumTokens, adapter: try adapter.load(for: pretrained))
        sampling.apply(to: &options)
        let generator = try TextGenerator(pretrained, configuration: engine.configuration)
        let session = ChatSession(generator, system: system, options: options)
        Terminal.talk("Chatting with \(model.model). /help lists the commands, Ctrl-D ends.")
        try await ChatLoop(session: session).run()
    }
}

/// Reads lines, runs commands, streams answers.
private final class ChatLoop: Sendable {
    private let session: ChatSession

    init(session: ChatSession) { self.session = session }

    func run() async throws {
        let stop = AnswerStop()
        let interruption = Interruption(isRepeatable: true) { stop.trigger() }
        defer { withExtendedLifetime(interruption) {} }
        while let line = readMessage() {
            if line.isEmpty { continue }
            if line.hasPrefix("/") {
                guard runCommand(line) else { return }
                continue
            }
            let task = Task { try await self.answer(line) }
            stop.set(task)
            do {
                try await task.value
            } catch is CancellationError {
                Terminal.talk("\n(stopped)")
            } catch let error as MoruError where error.code == .cancelled {
                Terminal.talk("\n(stopped)")
            } catch let error as MoruError {
                Terminal.talk(Terminal.paint("error: ", .red) + error.description)
            }
            stop.set(nil)
        }
        Terminal.talk("")
    }

    private func answer(_ text: String) async throws {
        for try await piece in session.send(text) { Terminal.result(piece, terminator: "") }
        try Task.checkCancellation()
        Terminal.result("")
    }

    /// One message; a backslash at the end of a line continues it. Nil at the end of input.
    private func readMessage() -> String? {
        var lines: [String] = []
        repeat {
            Terminal.talk(Terminal.paint(lines.isEmpty ? "› " : "… ", .cyan), terminator: "")
            guard let line = readLine() else { return lines.isEmpty ? nil : lines.joined(separator: "\n") }
            lines.append(line.hasSuffix("\\") ? String(line.dropLast()) : line)
            if !line.hasSuffix("\\") { break }
        } while true
        return lines.joined(separator: "\n")
    }

    /// Runs a line that begins with a slash; false ends the chat.
    private func runCommand(_ line: String) -> Bool {
        let parts = line.dropFirst().split(separator: " ", maxSplits: 1).map(String.init)
        let argument = parts.count > 1 ? parts[1] : ""
        do {
            switch parts.first ?? "" {
            case "help":
                Terminal.talk(
                    """
                    /system TEXT  set the system message; without TEXT, show it
                    /reset        forget the conversation
                    /save FILE    write the conversation to a JSON file
                    /load FILE    go on with a saved conversation
                    /exit         end (or Ctrl-D)
                    """)
            case "system" where argument.isEmpty: Terminal.talk(session.system ?? "(none)")
            case "system":
                session.system = argument
                Terminal.talk("(system message set)")
            case "reset":
                session.reset()
                Terminal.talk("(new conversation)")
            case "save" where !argument.isEmpty:
                try session.save(to: argument)
                Terminal.talk("(saved to \(argument))")
            case "load" where !argument.isEmpty:
                try session.restore(from: argument)
                Terminal.talk("(\(session.messages.count) messages)")
            case "save", "load": Terminal.talk("/\(parts[0]) needs the name of a FILE")
            case "exit", "quit", "bye": return false
            case let name:
                let nearest = nearestName(to: name, among: ["help", "system", "reset", "save", "load", "exit"])
                Terminal.talk("/\(name) is not a command; \(nearest.map { "did you mean /\($0)?" } ?? "see /help")")
            }
        } catch {
            Terminal.talk(Terminal.paint("error: ", .red) + "\(error)")
        }
        return true
    }
}
