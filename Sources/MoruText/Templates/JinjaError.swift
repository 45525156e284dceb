import MoruBase

/// A failure inside the Jinja lexer, parser or interpreter, before it is given the template's name and line.
struct JinjaError: Error {
    enum Kind {
        case syntax
        case render
        case raised
        case limit
    }

    let kind: Kind
    let message: String
    var remedy: String?
    /// The line, where the thrower knows it; the interpreter fills in the line it is at otherwise.
    var line: Int?

    init(_ message: String, kind: Kind = .render, line: Int? = nil, remedy: String? = nil) {
        self.kind = kind
        self.message = message
        self.remedy = remedy
        self.line = line
    }

    /// The public error, for a template called `name`.
    func error(in name: String, line current: Int) -> MoruError {
        let place = "\(name), line \(line ?? current): \(message)"
        switch kind {
        case .syntax:
            return MoruError(.templateSyntax, place, remedy: remedy ?? "mend the Jinja template")
        case .render:
            return MoruError(
                .templateRender, place, remedy: remedy ?? "check the messages and variables against the template")
        case .raised: return MoruError(.templateRaised, message, remedy: remedy)
        case .limit:
            return MoruError(.templateLimit, place, remedy: remedy ?? "simplify the template or shorten its input")
        }
    }
}
