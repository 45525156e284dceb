import Foundation
import MoruBase

/// The directory beside a model's place in which a pull collects its files: `<name>.partial`.
///
/// It outlives an interrupted pull, with a small file that says by what each half-received file is known again.
final class PullWorkspace {
    /// The state file's name.
    static let stateName = ".moru-pull.json"

    /// The directory.
    let directory: String
    private var validators: [String: DownloadValidator] = [:]

    /// Opens the workspace, creating its directory and reading what an earlier pull left. A state file that cannot be
    /// read means that nothing can be resumed.
    init(directory: String) throws(MoruError) {
        self.directory = directory
        try FileSystem.createDirectory(directory)
        guard let state = try? JSON.parse(file: "\(directory)/\(Self.stateName)"), let files = state["files"]?.object
        else { return }
        for (name, value) in files.members {
            validators[name] = DownloadValidator(
                identity: value["identity"]?.string, contentTag: value["content_tag"]?.string,
                size: value["size"]?.int)
        }
    }

    /// Where a file of the model is collected.
    func path(_ name: String) -> String { "\(directory)/\(name)" }

    /// By what a half-received file is known again.
    func validator(for name: String) -> DownloadValidator? { validators[name] }

    /// Remembers by what a file is known, before its first byte is written.
    func remember(_ validator: DownloadValidator, for name: String) throws {
        guard validators[name] != validator else { return }
        validators[name] = validator
        var files = JSONObject()
        for (name, validator) in validators.sorted(by: { $0.key < $1.key }) {
            var entry = JSONObject()
            entry["identity"] = validator.identity.map(JSON.string)
            entry["content_tag"] = validator.contentTag.map(JSON.string)
            entry["size"] = validator.size.map(JSON.int)
            files[name] = .object(entry)
        }
        let text = JSON.object(JSONObject([("files", .object(files))])).text(pretty: true) + "\n"
        try FileSystem.write(text.utf8, to: path(Self.stateName))
    }

    /// Drops a file whose content is not what it should be.
    func discard(_ name: String) {
        unlink(path(name))
        validators[name] = nil
    }

    /// Bytes of the given files that are there already.
    func collectedBytes(_ names: some Sequence<String>) -> Int {
        names.reduce(0) { $0 + (FileSize.of(path($1)) ?? 0) }
    }

    /// Removes the directory if nothing in it could serve a later pull.
    func removeIfUseless(names: [String]) {
        if collectedBytes(names) == 0 { FileSystem.remove(directory) }
    }

    /// Puts the finished model in its place: what is not part of it is removed, everything is flushed, and a rename
    /// swaps it with what was there. A reader of the old model keeps what it has open.
    func finish(as model: StoredModel) throws {
        let keep = Set(model.files.map(\.name))
        for name in try allFiles() where !keep.contains(name) { unlink(path(name)) }
        FileSystem.remove(path(Self.packageFolder))
        try FileSystem.write((model.manifest.text(pretty: true) + "\n").utf8, to: path(StoredModel.manifestName))
        for folder in Set(keep.map { (path($0) as NSString).deletingLastPathComponent } + [directory]) {
            FileSystem.flushDirectory(folder)
        }
        let destination = model.directory
        if FileSystem.exists(destination) {
            try swap(with: destination)
            FileSystem.remove(directory)
        } else {
            guard rename(directory, destination) == 0 else {
                throw FileSystem.error(writing: destination, errno: errno)
            }
        }
        FileSystem.flushDirectory((destination as NSString).deletingLastPathComponent)
    }

    /// Where packages are downloaded to and unpacked.
    static let packageFolder = ".moru-package"

    private func allFiles() throws(MoruError) -> [String] {
        guard let walker = FileManager.default.enumerator(atPath: directory) else {
            throw MoruError(.fileUnreadable, "cannot list \(directory)")
        }
        var names: [String] = []
        for case let name as String in walker where !FileSystem.isDirectory(path(name)) { names.append(name) }
        return names
    }

    /// Exchanges two directories in one step; where the file system cannot, in two.
    private func swap(with destination: String) throws(MoruError) {
        if FileSystem.exchange(directory, destination) { return }
        let previous = "\(directory).previous"
        FileSystem.remove(previous)
        guard rename(destination, previous) == 0 else { throw FileSystem.error(writing: destination, errno: errno) }
        guard rename(directory, destination) == 0 else {
            let reason = errno
            rename(previous, destination)
            throw FileSystem.error(writing: destination, errno: reason)
        }
        rename(previous, directory)
    }
}
