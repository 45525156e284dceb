import Foundation
import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

@testable import MoruTraining

/// What a run is told to need against what it then takes. Nothing here depends on how fast the machine is.
///
/// Memory is counted by the process, so that what measures it has a process of its own.
@Suite struct ResourceEstimateTests {
    /// A model of some size, so that activations stand out.
    private static func trainer(
        full: Bool, batchSize: Int, accumulation: Int = 1, clipNorm: Float = 1,
        _ optimizer: OptimizerSettings.Kind = .adamw, shape: [String: JSON] = [:]
    ) throws -> Trainer {
        var configuration = try #require(TestModels.tinyLlamaConfiguration.object)
        configuration["hidden_size"] = 128
        configuration["intermediate_size"] = 256
        for (key, value) in shape { configuration[key] = value }
        let model = try TestModels.tinyLlama(seed: 3, configuration: .object(configuration))
        let adapter = full ? nil : try LoRAAdapter(LoRAConfiguration(rank: 8), adapting: model.linears, seed: 1)
        let examples = (0..<40).map { number in
            let length = 20 + number * 13 % 60
            return TokenizedExample(
                tokens: (0..<length).map { Int32(($0 * $0 + number) % 64) },
                isTarget: Array(repeating: true, count: length))
        }
        var settings = TrainingSettings()
        settings.batchSize = batchSize
        settings.gradientAccumulation = accumulation
        settings.clipNorm = clipNorm
        settings.precision = .f32
        settings.optimizer = OptimizerSettings(optimizer)
        return Trainer(of: model, adapter, on: examples, settings: settings)
    }

    @Test(arguments: [
        (false, 8, 1, 1, "adamw"), (false, 2, 3, 1, "lion"), (true, 4, 1, 1, "adamw"), (true, 2, 4, 1, "adafactor"),
        (true, 8, 1, 1, "muon"), (true, 1, 1, 0, "adamw"), (true, 2, 3, 0, "adamw"),
    ])
    func memoryAndDiskAreAsTold(
        full: Bool, batchSize: Int, accumulation: Int, clipNorm: Int, optimizer: String
    ) async {
        await #expect(processExitsWith: .success) {
            [
                full = full as Bool, batchSize = batchSize as Int, accumulation = accumulation as Int,
                clipNorm = clipNorm as Int, optimizer = optimizer as String
            ] in
            try Self.compare(
                full: full, batchSize: batchSize, accumulation: accumulation, clipNorm: Float(clipNorm), optimizer)
        }
    }

    private static func compare(
        full: Bool, batchSize: Int, accumulation: Int, clipNorm: Float, _ optimizer: String
    ) throws {
        let folder = try TemporaryFolder()
        let run = folder.path + "/run"
        let kind = try #require(OptimizerSettings.Kind(rawValue: optimizer))
        var trainer = try trainer(
            full: full, batchSize: batchSize, accumulation: accumulation, clipNorm: clipNorm, kind)
        trainer.estimates = true
        var estimate: ResourceEstimate?
        var peak = 0
        var largest = 0
        Allocator.shared.resetPeak()
        try trainer.run(in: run) { event in
            if case .estimated(let told) = event {
                estimate = told
                Allocator.shared.resetPeak()
            }
            if case .step(let step) = event { peak = max(peak, step.peakMemoryBytes) }
            largest = max(largest, FileSize.ofTree(run))
        }
        let told = try #require(estimate)
        #expect(0.8...1.2 ~= Double(told.peakMemoryBytes) / Double(peak), "told \(told.peakMemoryBytes), took \(peak)")
        // beside tensors there are headers, the events and the state, which are small even here
        #expect(0.8...1.2 ~= Double(told.diskBytes) / Double(largest), "told \(told.diskBytes), took \(largest)")
        #expect(told.peakDiskBytes >= told.diskBytes)
        #expect(told.secondsPerStep > 0 && told.seconds >= told.secondsPerStep)
    }

    private typealias Measured = (told: ResourceEstimate, peak: Int, losses: [Double])

    /// What a run is told, the most memory that its steps take, and their losses.
    private static func measure(_ trainer: Trainer, in directory: String) throws -> Measured {
        var (told, peak, losses) = (ResourceEstimate?.none, 0, [Double]())
        try trainer.run(in: directory) { event in
            if case .estimated(let estimate) = event {
                told = estimate
                Allocator.shared.resetPeak()
            }
            guard case .step(let step) = event else { return }
            losses.append(step.loss)
            peak = max(peak, step.peakMemoryBytes)
        }
        return (try #require(told), peak, losses)
    }

    @Test(arguments: [Precision.f32, .automatic]) func unpackedWeightsAreCountedAndGivenUpForRoom(
        _ precision: Precision
    ) async {
        await #expect(processExitsWith: .success) { [precision = precision as Precision] in try Self.unpack(precision) }
    }

    private static func unpack(_ precision: Precision) throws {
        let folder = try TemporaryFolder()
        func run(_ name: String, room: MachineRoom?) throws -> Measured {
            let made = try trainer(full: false, batchSize: 8)
            var settings = made.settings
            settings.precision = precision
            var trainer = Trainer(task: made.task, method: made.method, settings: settings)
            try #require(trainer.task as? LanguageModelTask).model.quantizeLinears(to: .q8_0)
            (trainer.estimates, trainer.room) = (true, room)
            return try measure(trainer, in: "\(folder.path)/\(name)")
        }
        let kept = try run("kept", room: nil)
        let needs = kept.told.newMemoryBytes
        #expect(
            0.8...1.2 ~= Double(kept.told.peakMemoryBytes) / Double(kept.peak),
            "told \(kept.told.peakMemoryBytes), took \(kept.peak)")
        // The plain kernels read weights where they are
        guard kept.told.unpackedBytes > 0 else { return #expect(Runtime.shared.kernelName == "scalar") }
        // The layouts that products of bytes read stay
        let lacking = precision == .f32 ? kept.told.unpackedBytes / 2 : 1 << 16
        let tight = try run("tight", room: MachineRoom(memoryBytes: needs - lacking, diskBytes: nil))
        #expect(tight.told.unpackedBytes < kept.told.unpackedBytes)
        #expect(precision != .f32 || tight.told.unpackedBytes == 0)
        #expect(tight.told.peakMemoryBytes < kept.told.peakMemoryBytes)
        #expect(tight.losses == kept.losses && tight.losses.count == 5)
    }

    @Test func estimatingMovesNothing() throws {
        let folder = try TemporaryFolder()
        var trainer = try SmallRun().trainer()
        let before = trainer.method.parameters.map { $0.value.values() }
        _ = try trainer.estimate(writingTo: folder.path + "/run")
        expectEqual(trainer.method.parameters.map { $0.value.values() }, before)
        #expect(try FileSystem.list(folder.path) == [])
        trainer.estimates = true
        var losses: [Double] = []
        try trainer.run(in: folder.path + "/run") { if case .step(let step) = $0 { losses.append(step.loss) } }
        #expect(try losses == SmallRun().run(in: folder.path + "/other").losses)
    }

    @Test func whatCannotFitIsRefusedWithWhatWould() async {
        await #expect(processExitsWith: .success) { try Self.refuse() }
    }

    private static func refuse() throws {
        let folder = try TemporaryFolder()
        var trainer = try trainer(full: false, batchSize: 16)
        let whole = try trainer.estimate(writingTo: folder.path + "/run")
        trainer.estimates = true
        trainer.room = MachineRoom(
            memoryBytes: 2 * whole.gradientBytes + whole.optimizerBytes + whole.activationBytes / 3, diskBytes: nil)
        expectError(.runMemory, "of memory beyond the model", "training.batch_size=", "training.gradient_accumulation=")
        {
            try trainer.run(in: folder.path + "/run")
        }
        #expect(!FileSystem.exists(folder.path + "/run"))
        // what it suggests does fit
        do {
            try trainer.run(in: folder.path + "/run")
        } catch let error as MoruError {
            let numbers = try #require(error.remedy).split { !$0.isNumber }.compactMap { Int($0) }
            var frugal = try Self.trainer(full: false, batchSize: numbers[0], accumulation: numbers[1])
            frugal.estimates = true
            frugal.room = trainer.room
            #expect(numbers[0] * numbers[1] >= 16)
            try frugal.run(in: folder.path + "/run")
        }

        var full = try Self.trainer(full: true, batchSize: 2)
        full.room = MachineRoom(memoryBytes: 900, diskBytes: nil)
        expectError(.runMemory, "900 B are available") { _ = try full.estimate(writingTo: folder.path) }
        full.room = MachineRoom(memoryBytes: nil, diskBytes: 900)
        expectError(.runDisk, "where 900 B are free", "another output directory") {
            _ = try full.estimate(writingTo: folder.path)
        }
    }

    @Test(arguments: [false, true]) func recomputingTakesLessAndChangesNothing(full: Bool) async {
        await #expect(processExitsWith: .success) { [full = full as Bool] in try Self.recompute(full: full) }
    }

    private static func recompute(full: Bool) throws {
        let folder = try TemporaryFolder()
        func run(_ name: String, recomputes: Bool) throws -> Measured {
            var settings = try Self.trainer(full: full, batchSize: 8).settings
            settings.recomputesActivations = recomputes
            let made = try Self.trainer(full: full, batchSize: 8, shape: ["num_hidden_layers": 12])
            var trainer = Trainer(task: made.task, method: made.method, settings: settings)
            trainer.estimates = true
            return try measure(trainer, in: "\(folder.path)/\(name)")
        }
        let kept = try run("kept", recomputes: false)
        let again = try run("again", recomputes: true)
        #expect(kept.losses.count == 5 && kept.losses == again.losses)
        #expect(again.told.activationBytes < kept.told.activationBytes)
        #expect(again.told.peakMemoryBytes < kept.told.peakMemoryBytes && again.peak < kept.peak)
    }

    @Test func movingDuringTheBackwardPassTakesLessAndIsSuggested() async {
        await #expect(processExitsWith: .success) { try Self.moveAtOnce() }
    }

    private static func moveAtOnce() throws {
        let folder = try TemporaryFolder()
        let shape: [String: JSON] = ["num_hidden_layers": 8]
        func run(_ name: String, clipNorm: Float) throws -> Measured {
            let made = try Self.trainer(full: true, batchSize: 1, clipNorm: clipNorm, shape: shape)
            var settings = made.settings
            settings.recomputesActivations = true
            var trainer = Trainer(task: made.task, method: made.method, settings: settings)
            trainer.estimates = true
            return try measure(trainer, in: "\(folder.path)/\(name)")
        }
        let whole = try run("whole", clipNorm: 1e30)
        let during = try run("during", clipNorm: 0)
        #expect(during.losses == whole.losses && whole.losses.count == 40)
        let bytes = whole.told.gradientBytes
        #expect(bytes > 0 && during.told.gradientBytes == 0)
        // What is left are gradients of a layer at a time
        #expect(whole.peak - during.peak > bytes / 2, "\(whole.peak) and \(during.peak) of \(bytes)")
        var tight = try Self.trainer(full: true, batchSize: 1, shape: shape)
        tight.room = MachineRoom(memoryBytes: whole.told.optimizerBytes + bytes / 2, diskBytes: nil)
        expectError(.runMemory, "training.clip_norm=0 would leave room") {
            _ = try tight.estimate(writingTo: folder.path + "/tight")
        }
    }

    @Test func aLineGoesThroughBothBatches() {
        let line = BatchCost(small: (10, 30), large: (30, 70))
        #expect(line.of(20) == 50 && line.inputs(within: 50) == 20)
        // noise that would make larger batches cheaper is not believed
        let flat = BatchCost(small: (10, 80), large: (20, 70))
        #expect(flat.of(40) == 140)
    }

    @Test func theMachineSaysWhatItHas() throws {
        let room = MachineRoom(for: NSTemporaryDirectory() + "/no/such/folder")
        #expect(try #require(room.memoryBytes) > 1 << 20)
        #expect(try #require(room.diskBytes) > 1 << 20)
    }
}
