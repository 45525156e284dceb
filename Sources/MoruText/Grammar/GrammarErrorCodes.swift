import MoruBase

extension MoruError.Code {
    /// A grammar, pattern or schema that is not well formed, or that no text fits.
    public static let grammarMalformed = MoruError.Code("grammar.malformed", .invalidInput)
    /// A construct of a pattern or schema whose fulfilment cannot be guaranteed.
    public static let grammarUnsupported = MoruError.Code("grammar.unsupported", .unsupported)
    /// A grammar of too many rules or repetitions.
    public static let grammarTooLarge = MoruError.Code("grammar.too-large", .invalidInput)
}
