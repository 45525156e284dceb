import Foundation
import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

@testable import MoruTraining

/// A folder that is removed when the test is done with it.
final class TemporaryFolder {
    let path = (TestNeeds.temporaryPath("training") as NSString).standardizingPath

    init() throws { try FileSystem.createDirectory(path) }
    deinit { FileSystem.remove(path) }

    /// Writes a file and returns its path.
    func write(_ text: String, to name: String) throws -> String {
        try FileSystem.write(text.utf8, to: "\(path)/\(name)")
        return "\(path)/\(name)"
    }
}

/// A small run of LoRA on a tiny Llama over made-up tokens.
struct SmallRun {
    var settings = TrainingSettings()
    var lora = LoRAConfiguration(rank: 4, alpha: 8, targets: ["q_proj", "v_proj", "down_proj"])
    var examples = SmallRun.examples(10)
    var heldOut: [TokenizedExample]? = SmallRun.examples(3, from: 50)
    /// What the frozen model's layers are quantised to; nil for not at all.
    var quantization: DType?

    init() {
        settings.length = .epochs(3)
        settings.batchSize = 2
        settings.gradientAccumulation = 2
        settings.learningRate = 1e-2
        settings.warmup = .steps(2)
        settings.seed = 7
        settings.precision = .f32
    }

    /// Examples of different lengths, each with its own tokens.
    static func examples(_ count: Int, from first: Int = 0) -> [TokenizedExample] {
        (first..<first + count).map { number in
            let length = 5 + number * 7 % 9
            return TokenizedExample(
                tokens: (0..<length).map { Int32((5 * $0 * $0 + 7 * $0 * number + 3 * number + 1) % 64) },
                isTarget: (0..<length).map { $0 >= 1 + number % 3 })
        }
    }

    func trainer() throws -> Trainer {
        var configuration = try #require(TestModels.tinyLlamaConfiguration.object)
        // What is quantised must be whole blocks
        if quantization != nil { configuration["intermediate_size"] = 64 }
        let model = try TestModels.tinyLlama(configuration: .object(configuration))
        if let quantization { try model.quantizeLinears(to: quantization) }
        let adapter = try LoRAAdapter(lora, adapting: model.linears, seed: settings.seed)
        return Trainer(of: model, adapter, on: examples, heldOut: heldOut, settings: settings)
    }

    /// Runs, and returns every event.
    @discardableResult
    func run(
        in directory: String, existing: ExistingRun = .refuse,
        events body: @escaping (TrainingEvent) -> Void = { _ in },
        isCancelled: @escaping () -> Bool = { false }
    ) throws -> [TrainingEvent] {
        var events: [TrainingEvent] = []
        try trainer().run(
            in: directory, existing: existing,
            events: {
                events.append($0)
                body($0)
            }, isCancelled: isCancelled)
        return events
    }
}

extension [TrainingEvent] {
    /// The loss of each step.
    var losses: [Double] { compactMap { if case .step(let step) = $0 { step.loss } else { nil } } }
    /// The validation losses.
    var validationLosses: [Double] { compactMap { if case .validation(let report) = $0 { report.loss } else { nil } } }
    /// The steps after which there was a checkpoint.
    var checkpoints: [Int] { compactMap { if case .checkpoint(let step, _) = $0 { step } else { nil } } }
}

/// Expects an error of a code whose text has some parts.
func expectError(
    _ code: MoruError.Code, _ parts: String..., sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () throws -> Void
) {
    do {
        try body()
        Issue.record("no error was thrown, expected \(code)", sourceLocation: sourceLocation)
    } catch let error as MoruError {
        #expect(error.code == code, "\(error)", sourceLocation: sourceLocation)
        for part in parts {
            #expect(error.description.contains(part), "\"\(part)\" is not in: \(error)", sourceLocation: sourceLocation)
        }
    } catch {
        Issue.record("\(error) is not a MoruError", sourceLocation: sourceLocation)
    }
}
