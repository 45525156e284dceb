/// The one error type of Moru: what happened, where, and how it may be mended.
///
/// Each target adds its own codes in an extension of ``MoruError/Code``, so that callers match on a code
/// (`error.code == .tokenizerMalformed`) and the CLI and the HTTP server render every error in one place.
public struct MoruError: Error, Sendable {
    /// What kind of failure a code stands for. Decides the process exit code and the HTTP status.
    public enum Kind: String, Sendable, CaseIterable {
        /// A file, request or setting that is malformed or out of range.
        case invalidInput = "invalid_input"
        /// Something named does not exist.
        case notFound = "not_found"
        /// Well formed, but not something Moru does.
        case unsupported
        /// A limit was reached: context length, memory, disk, queue.
        case limit
        /// Something else holds what is needed: a port, a run directory.
        case conflict
        /// The operating system or the network failed.
        case io
        /// The caller asked to stop.
        case cancelled
        /// A defect in Moru.
        case `internal`
    }

    /// An extensible, stable error code such as `safetensors.truncated`.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        /// The stable name, `area.what`.
        public let name: String
        /// What kind of failure this is.
        public let kind: Kind

        /// Makes a code. Declare each as a static constant in the target that throws it.
        public init(_ name: String, _ kind: Kind) {
            self.name = name
            self.kind = kind
        }

        /// The stable name.
        public var description: String { name }

        /// Codes are the same when their names are.
        public static func == (left: Code, right: Code) -> Bool { left.name == right.name }
        /// Hashes the name.
        public func hash(into hasher: inout Hasher) { hasher.combine(name) }
    }

    /// The stable code.
    public let code: Code
    /// What happened, naming the file, field, line or shapes involved.
    public let message: String
    /// What the reader can do about it.
    public let remedy: String?
    /// The error that led to this one.
    public let cause: (any Error)?

    /// Makes an error.
    public init(_ code: Code, _ message: String, remedy: String? = nil, cause: (any Error)? = nil) {
        self.code = code
        self.message = message
        self.remedy = remedy
        self.cause = cause
    }

    /// The same error, said to have happened in a larger context: `context: message`.
    public func within(_ context: String) -> MoruError {
        MoruError(code, "\(context): \(message)", remedy: remedy, cause: cause)
    }
}

extension MoruError: CustomStringConvertible {
    /// The message, then the remedy and the cause on lines of their own.
    public var description: String {
        var text = message
        if let cause { text += "\n  cause: \(cause)" }
        if let remedy { text += "\n  remedy: \(remedy)" }
        return text
    }
}
