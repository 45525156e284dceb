import Foundation
import MoruBase
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

@testable import MoruTraining

/// Runs of a whole model whose optimizer remembers 8 bits.
@Suite struct AdamW8BitTrainingTests {
    /// The words of a text are guessed from those before them.
    private static let text = """
        an anvil is a block of iron on which a smith shapes metal with a hammer. the metal is heated in a forge until it
        glows, held on the anvil with tongs, and struck. a good anvil throws the hammer back, so that the smith need not
        lift it for every blow. its horn is for bending, its face for flattening, and the holes in it are for tools.
        """

    private func trainer(_ kind: OptimizerSettings.Kind, epochs: Int) throws -> Trainer {
        var configuration = try #require(TestModels.tinyLlamaConfiguration.object)
        for (key, value) in ["vocab_size": 128, "hidden_size": 64, "intermediate_size": 160] as [String: JSON] {
            configuration[key] = value
        }
        let model = try TestModels.tinyLlama(seed: 5, configuration: .object(configuration))
        let letters = Self.text.utf8.map { Int32($0) }
        let examples = stride(from: 0, to: letters.count - 48, by: 24).map { start in
            let tokens = Array(letters[start..<start + 48])
            return TokenizedExample(tokens: tokens, isTarget: tokens.indices.map { $0 > 0 })
        }
        var settings = TrainingSettings()
        settings.length = .epochs(epochs)
        settings.batchSize = 4
        settings.learningRate = 1e-2
        settings.precision = .f32
        settings.clipNorm = 0
        settings.saveEvery = 5
        settings.optimizer = OptimizerSettings(kind, weightDecay: 0.01)
        return Trainer(of: model, on: examples, settings: settings)
    }

    private func losses(_ trainer: Trainer, in run: String, existing: ExistingRun = .refuse) throws -> [Double] {
        var losses: [Double] = []
        try trainer.run(in: run, existing: existing) { if case .step(let step) = $0 { losses.append(step.loss) } }
        return losses
    }

    @Test func learnsAsMuchAsInF32() throws {
        let folder = try TemporaryFolder()
        let exact = try losses(trainer(.adamw, epochs: 40), in: folder.path + "/exact")
        let rounded = try losses(trainer(.adamw8Bit, epochs: 40), in: folder.path + "/rounded")
        func mean(_ losses: [Double], _ range: Range<Int>) -> Double {
            losses[range].reduce(0, +) / Double(range.count)
        }
        let (last, middle) = (exact.count - 10..<exact.count, exact.count / 2..<exact.count / 2 + 10)
        #expect(exact.count == rounded.count && exact[0] == rounded[0] && exact[5] != rounded[5])
        // Far from where they began, at the same pace
        #expect(mean(exact, last) < 0.5 * exact[0])
        #expect(0.95...1.05 ~= mean(rounded, middle) / mean(exact, middle))
        #expect(0.95...1.05 ~= mean(rounded, last) / mean(exact, last))
    }

    /// The checkpoint has a quarter of the moments' bytes, and what is left of a run goes on to the same bits.
    @Test func aKilledRunGoesOnTheSame() throws {
        let folder = try TemporaryFolder()
        let (whole, killed) = (folder.path + "/whole", folder.path + "/killed")
        let reference = try trainer(.adamw8Bit, epochs: 3)
        var copied: (any Error)?
        var all: [Double] = []
        try reference.run(in: whole) { event in
            guard case .step(let step) = event else { return }
            all.append(step.loss)
            guard step.step == 7 else { return }
            do { try FileManager.default.copyItem(atPath: whole, toPath: killed) } catch { copied = error }
        }
        #expect(copied == nil)
        let rest = try trainer(.adamw8Bit, epochs: 3)
        let others = try losses(rest, in: killed, existing: .resume)
        #expect(others == Array(all[5...]), "\(others) after \(all)")
        expectEqual(
            rest.method.parameters.map { $0.value.values() }, reference.method.parameters.map { $0.value.values() })
        let state = try SafetensorsFile(path: whole + "/checkpoints/step-000005/optimizer.safetensors")
        let name = "model.layers.0.mlp.up_proj.weight.first_moment_8bit"
        #expect(try state.tensor(name).dtype == .i32)
        // Another kind of optimizer finds nothing of its own there
        expectError(.checkpointMalformed) { _ = try losses(trainer(.adamw, epochs: 3), in: killed, existing: .resume) }
    }

    /// A scale that is no number would make every parameter of its block one, a few steps later.
    @Test(arguments: [Float.nan, .infinity, -1]) func aDamagedScaleIsFoundBeforeTheRunGoesOn(scale: Float) throws {
        let folder = try TemporaryFolder()
        let run = folder.path + "/run"
        let all = try losses(trainer(.adamw8Bit, epochs: 3), in: run)
        let newest = try #require(try FileSystem.list(run + "/checkpoints").last)
        let path = "\(run)/checkpoints/\(newest)/optimizer.safetensors"
        let name = "model.layers.0.mlp.up_proj.weight.second_moment_8bit"
        var bytes = try FileSystem.read(path)
        let headerEnd = 8 + bytes[..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
        let header = try JSON.parse(Array(bytes[8..<headerEnd]), source: path)
        let start = headerEnd + (try #require(header[name]?["data_offsets"]?[0]?.int))
        // The second block's; a block is a scale and 256 codes
        let second = start + 260..<start + 264
        withUnsafeBytes(of: scale.bitPattern.littleEndian) { bytes.replaceSubrange(second, with: $0) }
        try FileSystem.write(bytes, to: path)

        var notices: [String] = []
        var rest: [Double] = []
        try trainer(.adamw8Bit, epochs: 3).run(in: run, existing: .resume) { event in
            if case .notice(let text) = event { notices.append(text) }
            if case .step(let step) = event { rest.append(step.loss) }
        }
        #expect(rest == Array(all[5...]), "\(rest) after \(all)")
        #expect(notices.contains { $0.contains(path) && $0.contains(name) && $0.contains("scale") }, "\(notices)")
    }
}
