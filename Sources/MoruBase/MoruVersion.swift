/// Which Moru this is.
public enum MoruVersion {
    /// The version, as `major.minor.patch`.
    public static let current = "0.1.0"
}
