import Foundation
import MoruBase

/// What to do with a run that the output directory holds already.
public enum ExistingRun: String, Sendable, Hashable, CaseIterable {
    /// Do not start.
    case refuse
    /// Go on from its newest checkpoint; begin where there is none.
    case resume
    /// Remove it and begin.
    case overwrite
}

/// The directory of a run:
///
///     adapter/             the best result so far, as other programs load it; `model/` for a whole model
///     checkpoints/step-N/  what is needed to go on after step N
///     events.jsonl         what happened, an event a line
///     recipe.yaml          what was asked for, every key written out
final class RunDirectory: Sendable {
    let path: String
    private let lock: FileLock

    static let (adapterName, modelName) = ("adapter", "model")
    /// What the reference of a preference run thinks, which is made before the run and told by what it depends on.
    static let referenceName = "reference.json"
    private static let resultNames = [adapterName, modelName]

    var events: String { path + "/events.jsonl" }
    private var checkpoints: String { path + "/checkpoints" }
    private static let contents = resultNames + ["checkpoints", "events.jsonl", "recipe.yaml"]

    /// Takes a directory for a run, which is made if need be.
    ///
    /// - Throws: ``MoruError/Code/runInUse``, ``MoruError/Code/runExists``, or what the file system throws.
    init(_ path: String, existing: ExistingRun) throws(MoruError) {
        self.path = path
        try FileSystem.createDirectory(path)
        lock = try FileLock.forRun(in: path)
        try removeLeftovers()
        try Self.check(path, existing)
        if existing == .overwrite {
            for name in Self.contents { FileSystem.remove("\(path)/\(name)") }
        }
    }

    /// Refuses a directory that holds a run already, if that is what to do.
    ///
    /// - Throws: ``MoruError/Code/runExists``.
    static func check(_ path: String, _ existing: ExistingRun) throws(MoruError) {
        let present = contents.filter { FileSystem.exists("\(path)/\($0)") }
        guard existing == .refuse, !present.isEmpty else { return }
        throw MoruError(
            .runExists, "\(path) holds a run already (\(present.joined(separator: ", ")))",
            remedy: "resume it, overwrite it, or choose another output directory")
    }

    /// Clears away what a killed process was writing, and puts back a result that it was about to replace.
    private func removeLeftovers() throws(MoruError) {
        for directory in [path, checkpoints] where FileSystem.isDirectory(directory) {
            for name in try FileSystem.list(directory) where Self.isLeftover(name) {
                let result = Self.resultNames.first { name.hasPrefix($0 + ".") }.map { "\(path)/\($0)" }
                if let result, name.hasSuffix(".previous"), !FileSystem.exists(result) {
                    rename("\(directory)/\(name)", result)
                } else {
                    FileSystem.remove("\(directory)/\(name)")
                }
            }
        }
    }

    private static func isLeftover(_ name: String) -> Bool {
        guard name.hasSuffix(".partial") || name.hasSuffix(".previous") else { return false }
        return contents.contains { name.hasPrefix($0 + ".") } || name.hasPrefix("step-")
    }

    /// Removes the directory where no run was begun in it.
    func removeIfUnused() {
        guard (try? FileSystem.list(path)) == [".lock"] else { return }
        FileSystem.remove(path)
    }

    /// Where the best result so far lies.
    func result(of method: any TrainingMethod) -> String { "\(path)/\(method.resultName)" }

    /// Where the checkpoint of a step lies.
    func checkpoint(_ step: Int) -> String {
        let digits = String(step)
        return "\(checkpoints)/step-" + String(repeating: "0", count: max(0, 6 - digits.count)) + digits
    }

    /// The steps of which there are checkpoints, the newest first.
    func checkpointSteps() throws(MoruError) -> [Int] {
        guard FileSystem.isDirectory(checkpoints) else { return [] }
        return try FileSystem.list(checkpoints).compactMap { name in
            name.hasPrefix("step-") ? Int(name.dropFirst("step-".count)) : nil
        }.sorted(by: >)
    }

    /// Removes all but the newest checkpoints.
    func pruneCheckpoints(keeping count: Int) throws(MoruError) {
        for step in try checkpointSteps().dropFirst(count) { FileSystem.remove(checkpoint(step)) }
    }
}
