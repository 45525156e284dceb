import Foundation
import Logging
import MoruBase

/// How a server writes its log.
public enum LogFormat: String, Sendable, CaseIterable {
    /// A line for people: time, level, message, and facts as `name=value`.
    case text
    /// A JSON object a line, with `time`, `level`, `message` and the facts.
    case json
}

/// Writes a server's log, a line for each entry, to standard error.
public struct ServerLogHandler: LogHandler {
    /// Facts of every entry.
    public var metadata: Logger.Metadata = [:]
    /// The least level that is written.
    public var logLevel = Logger.Level.info
    private let format: LogFormat
    private let write: @Sendable (String) -> Void

    /// Makes a handler.
    public init(_ format: LogFormat) {
        self.init(format) { line in
            var line = line + "\n"
            // In one piece, so that lines of several threads do not mix
            line.withUTF8 { _ = Foundation.write(STDERR_FILENO, $0.baseAddress, $0.count) }
        }
    }

    init(_ format: LogFormat, write: @escaping @Sendable (String) -> Void) {
        (self.format, self.write) = (format, write)
    }

    /// A fact of every entry.
    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    /// Writes an entry.
    public func log(event: LogEvent) {
        let facts = metadata.merging(event.metadata ?? [:]) { $1 }.sorted { $0.key < $1.key }
        let time = Date().formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
        let level = "\(event.level)"
        switch format {
        case .text:
            // What clients make up is in quotes where it could be taken for something else
            let pairs = facts.map { " \($0)=\(Self.quoted("\($1)"))" }
            write("\(time) \(level) \(Self.oneLine("\(event.message)"))\(pairs.joined())")
        case .json:
            var object = JSONObject([
                ("time", .string(time)), ("level", .string(level)), ("message", .string("\(event.message)")),
            ])
            for (key, value) in facts where object[key] == nil { object[key] = Self.json(value) }
            write(JSON.object(object).text())
        }
    }

    private static func json(_ value: Logger.Metadata.Value) -> JSON {
        let text = "\(value)"
        return Int(text).map { .int($0) } ?? .string(text)
    }

    private static func quoted(_ text: String) -> String {
        let isPlain = text.allSatisfy { !$0.isWhitespace && $0 != "\"" && $0 != "=" } && !text.isEmpty
        return isPlain ? text : JSON.string(text).text()
    }

    private static func oneLine(_ text: String) -> String { text.replacing(/[\r\n]+/, with: " | ") }
}
