import MoruBase

extension MoruError.Code {
    /// A model name that is neither catalogued nor stored.
    public static let modelUnknown = MoruError.Code("model.unknown", .notFound)
    /// A model reference that cannot be read: not a name, `hf:ORG/REPO`, or a path.
    public static let modelReferenceMalformed = MoruError.Code("model.reference-malformed", .invalidInput)
    /// A stored model whose files are missing or have another size than its manifest says.
    public static let modelDamaged = MoruError.Code("model.damaged", .invalidInput)
    /// A stored model's manifest that cannot be read.
    public static let modelManifestMalformed = MoruError.Code("model.manifest-malformed", .invalidInput)
    /// Another process is pulling or removing the same model.
    public static let modelBusy = MoruError.Code("model.busy", .conflict)

    /// Every source of a model failed; the message says why, one by one.
    public static let pullFailed = MoruError.Code("pull.failed", .io)
    /// Bytes whose hash is not the expected one.
    public static let hashMismatch = MoruError.Code("pull.hash-mismatch", .io)
    /// More or fewer bytes than expected.
    public static let sizeMismatch = MoruError.Code("pull.size-mismatch", .io)
    /// A source that has no such file on this machine.
    public static let fileNotPresent = MoruError.Code("pull.file-not-present", .notFound)

    /// A hub address that is none.
    public static let hubAddressInvalid = MoruError.Code("hub.address-invalid", .invalidInput)

    /// The hub cannot be reached, or the connection broke too often.
    public static let hubUnreachable = MoruError.Code("hub.unreachable", .io)
    /// A repository, revision or file that the hub does not have, or does not show without a token.
    public static let hubNotFound = MoruError.Code("hub.not-found", .notFound)
    /// A gated repository, or a token that is not accepted.
    public static let hubAccessDenied = MoruError.Code("hub.access-denied", .invalidInput)
    /// The hub asks to slow down for longer than Moru waits.
    public static let hubRateLimited = MoruError.Code("hub.rate-limited", .limit)
    /// An answer of the hub that does not follow its API.
    public static let hubResponseMalformed = MoruError.Code("hub.response-malformed", .io)
    /// A file name in a repository that would be written outside the model's directory.
    public static let hubFileNameUnsafe = MoruError.Code("hub.file-name-unsafe", .invalidInput)
    /// A repository whose files Moru does not read, or among which one must be chosen.
    public static let hubFilesUnsupported = MoruError.Code("hub.files-unsupported", .unsupported)

    /// No Python with pip was found.
    public static let pipMissing = MoruError.Code("package.pip-missing", .notFound)
    /// pip could not download a package.
    public static let packageDownloadFailed = MoruError.Code("package.download-failed", .io)
    /// A wheel that is no zip file or lacks a member.
    public static let wheelMalformed = MoruError.Code("package.wheel-malformed", .invalidInput)
}
