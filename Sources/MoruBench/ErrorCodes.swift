import MoruBase

extension MoruError.Code {
    /// A benchmark was asked of a debug build.
    public static let debugBuild = MoruError.Code("bench.debug-build", .unsupported)
    /// No kernel of that name is measured.
    public static let unknownKernel = MoruError.Code("bench.unknown-kernel", .notFound)
}
