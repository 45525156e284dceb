import Hummingbird
import MoruBase
import MoruEngine
import MoruText

/// Follows an answer, and tells of it in the events of a response's stream, each with its number.
struct ResponseEvents: AnswerFrames {
    /// A part of the answer. Its place is that of its first sign.
    private enum Item {
        case message(text: String, tokens: [ScoredToken])
        case call(ToolCall)
    }

    private let format: ResponsesFormat
    private var items: [(id: String, item: Item)] = []
    /// The place of the text.
    private var message: Int?
    private var reason: FinishReason?
    private var count = 0

    /// Begins to follow an answer.
    init(_ format: ResponsesFormat) { self.format = format }

    mutating func opening(choices: Int) -> [ByteBuffer] {
        framed(
            ["response.created", "response.in_progress"].map { name in
                event(name, [("response", format.response(status: "in_progress"))])
            })
    }

    mutating func frames(_ index: Int, _ event: ChoiceEvent) -> [ByteBuffer] { framed(take(event)) }

    mutating func closing(_ usage: TokenUsage) -> [ByteBuffer] {
        framed([event(isCut ? "response.incomplete" : "response.completed", [("response", response(usage))])])
    }

    mutating func failure(_ error: APIError) -> [ByteBuffer] {
        let code =
            error.status == .tooManyRequests
            ? "rate_limit_exceeded" : error.status.code < 500 ? "invalid_prompt" : "server_error"
        let failed = format.response(
            status: "failed", output: output("incomplete"),
            error: ["code": .string(code), "message": .string(error.message)])
        return framed([event("response.failed", [("response", failed)])])
    }

    /// The response as it is at its end.
    func response(_ usage: TokenUsage) -> JSON {
        format.response(
            status: isCut ? "incomplete" : "completed", output: output(status), usage: usage, isCut: isCut)
    }

    /// What happens next, as events without numbers.
    mutating func take(_ event: ChoiceEvent) -> [JSON] {
        switch event {
        case .piece(let piece): return write(piece)
        case .call(let call, _): return write(call)
        case .finished(let reason, _):
            self.reason = reason
            return (items.isEmpty ? openMessage() : []) + closeMessage()
        }
    }

    private var isCut: Bool { reason?.name == "length" }
    private var status: String { isCut ? "incomplete" : "completed" }

    private func output(_ status: String) -> [JSON] { items.indices.map { json(of: $0, status) } }

    private mutating func write(_ piece: ChoicePiece) -> [JSON] {
        guard !piece.text.isEmpty || !piece.tokens.isEmpty else { return [] }
        var events = openMessage()
        guard let place = message, case .message(let text, let tokens) = items[place].item else { return events }
        items[place].item = .message(text: text + piece.text, tokens: tokens + piece.tokens)
        events.append(
            event(
                "response.output_text.delta",
                part(of: place) + [("delta", .string(piece.text)), ("logprobs", scores(piece.tokens))]))
        return events
    }

    private mutating func openMessage() -> [JSON] {
        guard message == nil else { return [] }
        let place = items.count
        message = place
        items.append((AnswerHead.identifier("msg_", length: 48), .message(text: "", tokens: [])))
        let item: JSON = [
            "id": .string(items[place].id), "type": "message", "status": "in_progress", "role": "assistant",
            "content": [],
        ]
        return [
            event("response.output_item.added", [("output_index", .int(place)), ("item", item)]),
            event("response.content_part.added", part(of: place) + [("part", text("", []))]),
        ]
    }

    private func closeMessage() -> [JSON] {
        guard let place = message, case .message(let text, let tokens) = items[place].item else { return [] }
        return [
            event(
                "response.output_text.done",
                part(of: place) + [("text", .string(text)), ("logprobs", scores(tokens))]),
            event("response.content_part.done", part(of: place) + [("part", self.text(text, tokens))]),
            event(
                "response.output_item.done", [("output_index", .int(place)), ("item", json(of: place, status))]),
        ]
    }

    private mutating func write(_ call: ToolCall) -> [JSON] {
        let place = items.count
        items.append((AnswerHead.identifier("fc_", length: 48), .call(call)))
        let about: [(String, JSON)] = [("item_id", .string(items[place].id)), ("output_index", .int(place))]
        let arguments = JSON.string(call.arguments.text())
        return [
            event(
                "response.output_item.added", [("output_index", .int(place)), ("item", json(of: place, "in_progress"))]),
            event("response.function_call_arguments.delta", about + [("delta", arguments)]),
            event(
                "response.function_call_arguments.done",
                about + [("name", .string(call.name)), ("arguments", arguments)]),
            event(
                "response.output_item.done", [("output_index", .int(place)), ("item", json(of: place, "completed"))]),
        ]
    }

    private func json(of place: Int, _ status: String) -> JSON {
        let (id, item) = items[place]
        switch item {
        case .message(let text, let tokens):
            return [
                "id": .string(id), "type": "message", "status": .string(status), "role": "assistant",
                "content": [self.text(text, tokens)],
            ]
        case .call(let call):
            let isOpen = status == "in_progress"
            return [
                "id": .string(id), "type": "function_call", "status": .string(isOpen ? status : "completed"),
                "call_id": .string(call.id ?? ""), "name": .string(call.name),
                "arguments": .string(isOpen ? "" : call.arguments.text()),
            ]
        }
    }

    private func text(_ text: String, _ tokens: [ScoredToken]) -> JSON {
        ["type": "output_text", "text": .string(text), "annotations": [], "logprobs": scores(tokens)]
    }

    private func scores(_ tokens: [ScoredToken]) -> JSON { .array(format.hasScores ? tokens.chatEntries : []) }

    private func part(of place: Int) -> [(String, JSON)] {
        [("item_id", .string(items[place].id)), ("output_index", .int(place)), ("content_index", 0)]
    }

    private func event(_ type: String, _ members: [(String, JSON)]) -> JSON {
        .object(JSONObject([("type", .string(type))] + members))
    }

    /// The frames of events, which are numbered as they are written.
    private mutating func framed(_ events: [JSON]) -> [ByteBuffer] {
        events.map { json in
            var members = json.object ?? JSONObject()
            members["sequence_number"] = .int(count)
            count += 1
            return ServerSentEvents.frame(.object(members), event: members["type"]?.string)
        }
    }
}
