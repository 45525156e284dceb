import MoruBase
import Testing

/// Messages quote what files and requests hold.
@Suite struct PrintableTextTests {
    @Test func leavesPlainTextAsItIs() {
        let text = "line 3:\tüber \"x\" 모루\n  remedy: 👩‍👧"
        #expect(text.printable() == text)
    }

    @Test func showsWhatWouldSteerATerminal() {
        #expect(
            "a\u{1B}[2Jb\u{0}\u{7}\r\u{9B}1m\u{202E}c".printable() == #"a\u{1B}[2Jb\u{0}\u{7}\u{D}\u{9B}1m\u{202E}c"#)
    }

    @Test func leavesOutTheMiddleOfLongTexts() {
        let text = String(repeating: "é", count: 600) + String(repeating: "ü", count: 600)
        let shown = text.printable(limit: 100)
        #expect(shown.hasPrefix(String(repeating: "é", count: 50) + "... (1100 characters left out) ...ü"))
        #expect(shown.hasSuffix(String(repeating: "ü", count: 50)) && shown.count < 150)
        #expect(text.printable() == text)
    }

    /// The system would read a path up to its NUL, and take another file.
    @Test func pathsEndWhereTheyEnd() throws {
        #expect(FileSystem.exists("/etc/passwd") && !FileSystem.exists("/etc/passwd\u{0}x"))
        #expect(FileSystem.isDirectory("/etc") && !FileSystem.isDirectory("/etc\u{0}x"))
        let error = #expect(throws: MoruError.self) { try FileSystem.read("/etc/passwd\u{0}x") }
        #expect(error?.code == .fileNotFound)
        #expect(throws: MoruError.self) { try FileSystem.write([], to: "/tmp/moru\u{0}x") }
    }
}
