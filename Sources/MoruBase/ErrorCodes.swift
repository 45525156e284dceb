extension MoruError.Code {
    /// JSON text that cannot be parsed.
    public static let jsonMalformed = MoruError.Code("json.malformed", .invalidInput)
    /// A JSON value that is missing or of the wrong type.
    public static let jsonUnexpected = MoruError.Code("json.unexpected", .invalidInput)
    /// A file or directory that does not exist.
    public static let fileNotFound = MoruError.Code("file.not-found", .notFound)
    /// A file that cannot be read or mapped.
    public static let fileUnreadable = MoruError.Code("file.unreadable", .io)
    /// Text that is not UTF-8.
    public static let textEncoding = MoruError.Code("text.encoding", .invalidInput)
    /// A file or directory that cannot be written.
    public static let fileUnwritable = MoruError.Code("file.unwritable", .io)
    /// No space is left on the device.
    public static let diskFull = MoruError.Code("file.disk-full", .limit)
    /// The caller asked to stop.
    public static let cancelled = MoruError.Code("cancelled", .cancelled)
}
