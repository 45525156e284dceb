import Foundation
import MoruBase

/// A run's `events.jsonl`: an event a line, each written with one call so that a kill leaves whole lines.
final class EventLog {
    private let path: String
    private let descriptor: Int32

    /// Opens the log, without what came after a step: the resumed run will write that again.
    ///
    /// - Throws: What the file system throws.
    init(path: String, keepingSteps lastStep: Int) throws {
        self.path = path
        if FileSystem.exists(path) {
            let lines = try FileSystem.read(path).split(separator: UInt8(ascii: "\n")).filter { line in
                guard let event = try? JSON.parse(Array(line), source: path), event["event"]?.string != "finished"
                else { return false }
                return event["step"]?.int ?? 0 <= lastStep
            }
            try FileSystem.write(lines.flatMap { $0 + [UInt8(ascii: "\n")] }, to: path)
        }
        descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw FileSystem.error(writing: path, errno: errno) }
    }

    deinit { close(descriptor) }

    /// Appends an event, with the time.
    ///
    /// - Throws: ``MoruError/Code/diskFull`` or ``MoruError/Code/fileUnwritable``.
    func append(_ event: TrainingEvent) throws(MoruError) {
        var object = event.json.object ?? JSONObject()
        object["time"] = .double((Date().timeIntervalSince1970 * 1000).rounded() / 1000)
        let bytes = Array((JSON.object(object).text() + "\n").utf8)
        let written = bytes.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
        guard written == bytes.count else {
            throw FileSystem.error(writing: path, errno: written < 0 ? errno : ENOSPC)
        }
    }
}
