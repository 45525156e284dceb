import MoruBase

extension FileLock {
    /// Takes the right to work in a run's directory.
    ///
    /// - Throws: ``MoruError/Code/runInUse`` when another process (or another run of this one) has it, or as
    ///   `FileLock.attempt`.
    static func forRun(in directory: String) throws(MoruError) -> FileLock {
        let path = directory + "/.lock"
        if let lock = try attempt(path) { return lock }
        throw MoruError(
            .runInUse, "\(holder(of: path)) is working in \(directory)",
            remedy: "wait for it, stop it, or choose another output directory")
    }
}
