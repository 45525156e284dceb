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
///     adapter/             the best result so far, as other programs load it; model/ where it is a model from scratch
///     checkpoints/step-N/  what is needed to go on after step N
///     events.jsonl         what happened, an event a line
///     recipe.yaml          what was asked for, every key written out
final class RunDirectory: Sendable {
    let path: String
    private let lock: RunLock
    private let resultName: String

    var result: String { "\(path)/\(resultName)" }
    var events: String { path + "/events.jsonl" }
    private var checkpoints: String { path + "/checkpoints" }
    private var contents: [String] { [resultName, "checkpoints", "events.jsonl", "recipe.yaml"] }

    /// Takes a directory for a run, which is made if need be.
    ///
    /// - Throws: ``MoruError/Code/runInUse``, ``MoruError/Code/runExists``, or what the file system throws.
    init(_ path: String, existing: ExistingRun, resultName: String = "adapter") throws(MoruError) {
        (self.path, self.resultName) = (path, resultName)
        try FileSystem.createDirectory(path)
        lock = try RunLock(path: path + "/.lock", directory: path)
        try removeLeftovers()
        let present = contents.filter { FileSystem.exists("\(path)/\($0)") }
        switch existing {
        case .refuse where !present.isEmpty:
            throw MoruError(
                .runExists, "\(path) holds a run already (\(present.joined(separator: ", ")))",
                remedy: "resume it, overwrite it, or choose another output directory")
        case .overwrite:
            for name in present { FileSystem.remove("\(path)/\(name)") }
        default: break
        }
    }

    /// Clears away what a killed process was writing, and puts back a result that it was about to replace.
    private func removeLeftovers() throws(MoruError) {
        for directory in [path, checkpoints] where FileSystem.isDirectory(directory) {
            for name in try FileSystem.list(directory) where isLeftover(name) {
                if name.hasPrefix(resultName + "."), name.hasSuffix(".previous"), !FileSystem.exists(result) {
                    rename("\(directory)/\(name)", result)
                } else {
                    FileSystem.remove("\(directory)/\(name)")
                }
            }
        }
    }

    private func isLeftover(_ name: String) -> Bool {
        guard name.hasSuffix(".partial") || name.hasSuffix(".previous") else { return false }
        return contents.contains { name.hasPrefix($0 + ".") } || name.hasPrefix("step-")
    }

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
