import Foundation
import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import MoruText
import Synchronization
import Testing

/// What the tests with transformers, PEFT and gguf share: the files that `scripts/goldens/interop.py` writes, once a
/// run, and what those libraries compute with them.
enum Interoperation {
    struct Written: Sendable {
        let directory: String
        let answers: JSON
        let tokens: [Int32]
        let rows: [Int]

        func path(_ part: String, _ name: String) -> String { "\(directory)/\(part)/\(name)" }

        /// The logits that the other side computed, or a failure.
        func logits(_ part: String, _ name: String) throws -> [[Float]] {
            try #require(answers[part]?[name]?["logits"]?.array).map(\.floats)
        }

        /// The conversation whose prompt the other side rendered.
        var messages: [ChatMessage] {
            (answers["messages"]?.array ?? []).map {
                ChatMessage(role: $0["role"]?.string ?? "", content: $0["content"]?.string ?? "")
            }
        }
    }

    /// The files, written when first asked for.
    static func written() throws -> Written { try result.get() }

    private static let result = Result {
        let directory = TestNeeds.temporaryPath("interop")
        RemovedAtExit.append(directory)
        let answers = try run(["write", directory])
        return Written(
            directory: directory, answers: answers, tokens: answers["tokens"]?.ints.map(Int32.init) ?? [],
            rows: answers["rows"]?.ints ?? [])
    }

    /// Runs the script and parses its answer.
    static func run(_ arguments: [String]) throws -> JSON { try Goldens.json(printedBy: "interop.py", arguments) }

    /// The logits of some rows of a sequence, in full precision.
    static func logits(
        _ model: any LanguageModel, _ written: Written, adapter: (any Adapter)? = nil
    ) -> [[Float]] {
        Runtime.withPrecision(.f32) {
            let logits = model.logits(model.hiddenStates(TokenBatch([written.tokens], adapter: adapter)))
            return written.rows.map { logits.rows($0..<$0 + 1).values() }
        }
    }

    static func expectAgreement(
        _ found: [[Float]], _ expected: [[Float]], _ what: String, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(found.count == expected.count && !found.isEmpty, "\(what)", sourceLocation: sourceLocation)
        for (row, (found, expected)) in zip(found, expected).enumerated() {
            expectClose(found, expected, absolute: 1e-4, "\(what), row \(row)", sourceLocation: sourceLocation)
        }
    }
}

/// Folders that stay until the process ends.
enum RemovedAtExit {
    private static let paths = Mutex<[String]>([])

    static func append(_ path: String) {
        paths.withLock { paths in
            if paths.isEmpty { atexit { RemovedAtExit.removeAll() } }
            paths.append(path)
        }
    }

    private static func removeAll() { paths.withLock { for path in $0 { FileSystem.remove(path) } } }
}

/// A folder for one test, removed with it.
final class Scratch: Sendable {
    let path = TestNeeds.temporaryPath("scratch")

    init() throws { try FileSystem.createDirectory(path) }
    deinit { FileSystem.remove(path) }
}
