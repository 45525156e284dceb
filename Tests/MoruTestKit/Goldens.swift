import Foundation
import MoruBase

/// Expected results that the scripts in `scripts/goldens` made with an independent framework.
public enum Goldens {
    /// Reads `Goldens/<name>` beside the test file that asks.
    ///
    /// - Throws: What reading and parsing throw.
    public static func json(_ name: String, beside file: String = #filePath) throws -> JSON {
        try JSON.parse(file: (file as NSString).deletingLastPathComponent + "/Goldens/" + name)
    }

    /// What a script of `scripts/goldens` prints, as JSON.
    ///
    /// - Throws: What running and parsing throw.
    public static func json(printedBy script: String, _ arguments: [String]) throws -> JSON {
        try JSON.parse(run(script, arguments), source: script)
    }

    /// Runs a script of `scripts/goldens` and returns what it prints.
    ///
    /// - Throws: An error with what it wrote to standard error, when it fails.
    @discardableResult
    public static func run(_ script: String, _ arguments: [String]) throws -> String {
        let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../scripts/goldens")
        return try TestNeeds.runPython(
            script: folder.appending(path: script).standardized.path, arguments: arguments)
    }
}

extension JSON {
    /// The numbers of an array of numbers.
    public var floats: [Float] { (array ?? []).compactMap { $0.double.map { Float($0) } } }
    /// The integers of an array of integers.
    public var ints: [Int] { (array ?? []).compactMap(\.int) }
}
