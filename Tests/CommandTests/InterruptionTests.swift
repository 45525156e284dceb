import Foundation
import MoruBase
import MoruTensor
import MoruTestKit
import Testing

/// What a command leaves behind when it is told to end while it writes.
@Suite(.serialized) struct InterruptionTests {
    private let home = TestNeeds.temporaryPath("interruption")
    private var moru: BuiltProgram { BuiltProgram("moru", environment: ["MORU_HOME": home, "MORU_CONFIG": ""]) }

    /// A tiny model with so many tokens that writing it takes a moment.
    private func writeModel(_ path: String) throws {
        try TestModels.writeTinyDirectory(path)
        let config = try JSON.parse(file: path + "/config.json")
        let (few, many) = (try #require(config["vocab_size"]?.int), 1 << 18)
        var object = try #require(config.object)
        object["vocab_size"] = .int(many)
        try FileSystem.write(JSON.object(object).text().utf8, to: path + "/config.json")
        let file = try SafetensorsFile(path: path + "/model.safetensors")
        let tensors = try file.names.map { name in
            let tensor = try file.tensor(name)
            return (name: name, tensor: tensor.shape[0] == few ? .zeros([many, tensor.shape[1]]) : tensor)
        }
        try Safetensors.write(tensors, to: file.path)
    }

    /// Stopped while it writes, the program is sent the signal, and goes on only then.
    @Test(arguments: [SIGINT, SIGTERM]) func nothingHalfWrittenIsLeft(signal: Int32) throws {
        defer { FileSystem.remove(home) }
        let (base, folder) = (home + "/base", home + "/out")
        try writeModel(base)
        try FileSystem.write("earlier".utf8, to: folder + "/notes.txt")
        let arguments = ["export", base, "--format", "safetensors", "--output", folder + "/model"]
        func isWriting() throws -> Bool { try FileSystem.list(folder).contains { $0.hasSuffix(".partial") } }
        var wasStopped = false
        // A write can be over before it is noticed
        for _ in 0..<20 where !wasStopped {
            var isInTime = false
            let outcome = try moru.run(arguments) { process in
                let id = process.processIdentifier
                while process.isRunning, try !isWriting() {}
                kill(id, SIGSTOP)
                kill(id, signal)
                isInTime = try isWriting()
                kill(id, SIGCONT)
            }
            let left = try FileSystem.list(folder)
            wasStopped = isInTime && outcome.code == 128 + signal && left == ["notes.txt"]
            #expect(wasStopped || left == ["model", "notes.txt"], "\(outcome)")
            FileSystem.remove(folder + "/model")
        }
        #expect(wasStopped, "the signal came too late each time")
    }
}
