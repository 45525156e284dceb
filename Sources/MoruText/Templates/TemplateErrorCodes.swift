import MoruBase

extension MoruError.Code {
    /// A chat template that is not valid Jinja, or uses a part of Jinja that Moru leaves out.
    public static let templateSyntax = MoruError.Code("template.syntax", .invalidInput)
    /// A chat template that failed while it was rendered: an undefined variable used, a wrong type.
    public static let templateRender = MoruError.Code("template.render", .invalidInput)
    /// A chat template that refused its input with `raise_exception`; the message is the template's own.
    public static let templateRaised = MoruError.Code("template.raised", .invalidInput)
    /// A chat template that wanted more steps, memory or depth than a template may have.
    public static let templateLimit = MoruError.Code("template.limit", .limit)
    /// A chat template whose text for a conversation does not start with its text for the conversation's beginning,
    /// so that the assistant's part cannot be told from the rest.
    public static let templateNotIncremental = MoruError.Code("template.not-incremental", .unsupported)
    /// A chat message that is malformed: no role, content of an unknown kind.
    public static let messageMalformed = MoruError.Code("message.malformed", .invalidInput)
}
