import Foundation
import MoruBase

/// Runs a program with its output in a file, so that a talkative child can never block on a pipe.
///
/// Spawned directly rather than through Foundation's `Process`: that passes on the signal mask of the calling thread,
/// and on a thread of Swift's concurrency runtime nearly all signals are blocked, so that the child would heed neither
/// a request to end nor Ctrl-C.
enum ChildProcess {
    /// Finds a program on the `PATH` of `environment`.
    static func find(_ name: String, environment: [String: String]) -> String? {
        for folder in (environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin").split(separator: ":") {
            let path = "\(folder)/\(name)"
            if access(path, X_OK) == 0, !FileSystem.isDirectory(path) { return path }
        }
        return nil
    }

    /// Runs a program to its end.
    ///
    /// - Parameters:
    ///   - log: The file that gets standard output and standard error.
    ///   - poll: Called some twenty times a second while the program runs.
    /// - Returns: The exit status; a signal counts as 128 plus its number.
    /// - Throws: ``MoruError/Code/fileUnreadable`` when the program cannot be started, or
    ///   ``MoruError/Code/cancelled`` when the task is cancelled; the program has then ended.
    static func run(
        _ executable: String, _ arguments: [String], environment: [String: String], log: String, poll: () -> Void
    ) async throws -> Int32 {
        let process = try spawn(executable, arguments, environment: environment, log: log)
        while true {
            if let status = ended(process) {
                poll()
                return status
            }
            poll()
            do { try await Task.sleep(for: .milliseconds(50)) } catch {
                end(process)
                throw MoruError(.cancelled, "stopped while running \(executable)")
            }
        }
    }

    private static func spawn(
        _ executable: String, _ arguments: [String], environment: [String: String], log: String
    ) throws(MoruError) -> pid_t {
        var files = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&files)
        defer { posix_spawn_file_actions_destroy(&files) }
        posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0o644)
        posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO)

        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGQUIT] { sigaddset(&signals, signal) }
        posix_spawnattr_setsigdefault(&attributes, &signals)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

        var argv = ([executable] + arguments).map { strdup($0) } + [nil]
        var envp = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for pointer in argv + envp { free(pointer) } }
        var process: pid_t = 0
        let status = posix_spawn(&process, executable, &files, &attributes, &argv, &envp)
        guard status == 0 else {
            throw MoruError(
                .fileUnreadable, "cannot run \(executable): \(String(cString: strerror(status)))",
                remedy: "check that it is a program, and that there is memory and disk space")
        }
        return process
    }

    /// The exit status, once the program has ended.
    private static func ended(_ process: pid_t) -> Int32? {
        var status: Int32 = 0
        let result = waitpid(process, &status, WNOHANG)
        if result == 0 || (result < 0 && errno == EINTR) { return nil }
        guard result == process else { return 128 }
        let signal = status & 0x7F
        return signal == 0 ? (status >> 8) & 0xFF : 128 + signal
    }

    /// Asks a program and those that it started to end, after two seconds makes them, and waits until they are gone.
    /// A `python3` may be a shell script around the real one, which would outlive it.
    private static func end(_ process: pid_t) {
        let others = descendants(of: process)
        for member in [process] + others { kill(member, SIGTERM) }
        var isGone = false
        for _ in 0..<200 {
            isGone = isGone || ended(process) != nil
            if isGone, !others.contains(where: isRunning) { return }
            usleep(10_000)
        }
        for member in others { kill(member, SIGKILL) }
        guard !isGone else { return }
        kill(process, SIGKILL)
        while ended(process) == nil { usleep(10_000) }
    }

    /// Whether a process runs; one that has ended and that nobody has asked about yet does not.
    static func isRunning(_ process: pid_t) -> Bool {
        guard let text = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8),
            let name = text.lastIndex(of: ")")
        else { return false }
        return text[name...].dropFirst(2).first != "Z"
    }

    /// The processes that a process started, and those that these started, as Linux lists them.
    private static func descendants(of process: pid_t) -> [pid_t] {
        var found: [pid_t] = []
        let tasks = "/proc/\(process)/task"
        for task in (try? FileManager.default.contentsOfDirectory(atPath: tasks)) ?? [] {
            let text = (try? String(contentsOfFile: "\(tasks)/\(task)/children", encoding: .utf8)) ?? ""
            for child in text.split(separator: " ").compactMap({ pid_t($0) }) {
                found += [child] + descendants(of: child)
            }
        }
        return found
    }
}
