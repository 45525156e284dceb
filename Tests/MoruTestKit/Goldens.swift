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
}

extension JSON {
    /// The numbers of an array of numbers.
    public var floats: [Float] { (array ?? []).compactMap { $0.double.map { Float($0) } } }
    /// The integers of an array of integers.
    public var ints: [Int] { (array ?? []).compactMap(\.int) }
}
