import Foundation
import MoruEngine
import MoruModels
import MoruServer
import MoruTestKit
import Synchronization
import Testing

extension ServedModel {
    /// A model that says the alphabet over and over, one letter in each step.
    ///
    /// - Parameters:
    ///   - gate: Stands before every step, where given.
    ///   - failsAt: The position after which what it says is not a number.
    /// - Throws: What building a model throws.
    static func alphabet(
        secondsPerStep: Double = 0, context: Int = 100_000, gate: Gate? = nil, failsAt: Int? = nil,
        configuration: EngineConfiguration = .init()
    ) throws -> ServedModel {
        let pace: @Sendable () -> Void = {
            gate?.pass()
            if secondsPerStep > 0 { Thread.sleep(forTimeInterval: secondsPerStep) }
        }
        let size = TestModels.byteTokenizerSize
        let model = ScriptedModel(vocabularySize: size, contextLength: context, pace: pace) { token, position in
            var logits = [Float](repeating: position == failsAt ? .nan : 0, count: size)
            logits[97 + (token >= 97 && token < 122 ? Int(token) - 96 : 0)] += 20
            return logits
        }
        let pretrained = PretrainedModel(
            model: model, tokenizer: try TestModels.byteTokenizer(), chatTemplate: nil,
            generationDefaults: GenerationDefaults(endIDs: [258]), path: "alphabet", storageDescription: "script",
            license: nil)
        return ServedModel(name: "alphabet", generator: try TextGenerator(pretrained, configuration: configuration))
    }
}

/// Lets steps through, or holds them up; opens by itself after half a minute, lest a failing test hang.
final class Gate: Sendable {
    private let isShut = Mutex(false)

    func shut() { isShut.withLock { $0 = true } }
    func open() { isShut.withLock { $0 = false } }

    func pass() {
        for _ in 0..<30_000 where isShut.withLock({ $0 }) { Thread.sleep(forTimeInterval: 0.001) }
    }
}

/// Waits until a condition holds; after twenty seconds it is an issue of the test.
func waitUntil(
    sourceLocation: SourceLocation = #_sourceLocation, _ condition: () async throws -> Bool
) async throws {
    let begin = ContinuousClock.now
    while try await !condition() {
        guard ContinuousClock.now - begin < .seconds(120) else {
            Issue.record("the condition did not come about", sourceLocation: sourceLocation)
            return
        }
        try await Task.sleep(for: .milliseconds(10))
    }
}
