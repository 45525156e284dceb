import Foundation
import MoruBase

/// What the process says: results on standard output, talk on standard error.
enum Terminal {
    /// Whether standard error is a terminal, so that a line can be redrawn.
    static let talkIsInteractive = isatty(STDERR_FILENO) == 1
    /// Whether standard output is a terminal.
    static let resultIsInteractive = isatty(STDOUT_FILENO) == 1

    /// Opens the standard streams that the caller closed, so that no file takes their numbers and gets the talk.
    static func openMissingStreams() {
        for descriptor in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO] where fcntl(descriptor, F_GETFD) < 0 {
            _ = open("/dev/null", O_RDWR)
        }
    }

    /// All of standard input.
    ///
    /// - Throws: ``MoruError/Code/textEncoding`` where it is not UTF-8.
    static func readInput() throws(MoruError) -> String {
        try TextEncoding.text(FileHandle.standardInput.readDataToEndOfFile(), source: "standard input")
    }

    /// Prints a result.
    static func result(_ text: String, terminator: String = "\n") {
        write(text + terminator, to: STDOUT_FILENO)
    }

    /// Says something to the person who waits.
    static func talk(_ text: String, terminator: String = "\n") {
        write(text + terminator, to: STDERR_FILENO)
    }

    /// Says what went wrong and ends the process with the exit code of the error's kind.
    static func finish(failing error: MoruError) -> Never {
        talk(paint("error: ", .red) + error.message.printable())
        if let cause = error.cause { talk("  cause: " + "\(cause)".printable()) }
        if let remedy = error.remedy { talk(paint("  remedy: ", .cyan) + remedy.printable()) }
        exit(error.code.kind.exitCode)
    }

    /// Colours for a terminal.
    enum Color: String {
        case bold = "1"
        case dim = "2"
        case red = "31"
        case green = "32"
        case yellow = "33"
        case cyan = "36"
    }

    /// The text in a colour, where standard error shows colours (NO_COLOR is respected).
    static func paint(_ text: String, _ color: Color) -> String {
        showsColor ? "\u{1B}[\(color.rawValue)m\(text)\u{1B}[0m" : text
    }

    /// Whether results may be coloured.
    static let resultShowsColor = resultIsInteractive && allowsColor

    private static let showsColor = talkIsInteractive && allowsColor
    private static let allowsColor =
        ProcessInfo.processInfo.environment["NO_COLOR"] == nil
        && ProcessInfo.processInfo.environment["TERM"] != "dumb"

    /// The number of columns.
    static var width: Int {
        var size = winsize()
        guard ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
        return Int(size.ws_col)
    }

    private static func write(_ text: String, to descriptor: Int32) {
        let bytes = Array(text.utf8)
        var offset = 0
        while offset < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                Foundation.write(descriptor, buffer.baseAddress! + offset, buffer.count - offset)
            }
            if count < 0 {
                let reason = errno
                if reason == EINTR { continue }
                // Talk that nobody can hear does not end the work
                guard descriptor == STDOUT_FILENO else { return }
                // A closed pipe (`moru ... | head`) ends the process quietly, as it does other tools
                if reason == EPIPE { exit(0) }
                finish(failing: FileSystem.error(writing: "standard output", errno: reason))
            }
            offset += count
        }
    }
}

extension MoruError.Kind {
    /// The exit code of the process that fails with such an error.
    var exitCode: Int32 {
        switch self {
        case .internal: 1
        case .invalidInput: 2
        case .notFound: 3
        case .unsupported: 4
        case .limit: 5
        case .conflict: 6
        case .io: 7
        case .cancelled: 130
        }
    }
}
