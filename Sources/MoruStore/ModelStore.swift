import Foundation
import MoruBase

/// The models on this machine: a directory each, below `<root>/models`, pulled whole or not at all.
public struct ModelStore: Sendable {
    /// The directory under which everything lies.
    public let root: String
    let environment: [String: String]
    /// How much may still be written at a path; tests put a small disk here.
    var availableBytes: @Sendable (String) -> Int? = { DiskSpace.available(at: $0) }
    /// How patient the hub client is; tests shorten it.
    var patience: HubPatience?
    /// The catalog; tests put models of their own here.
    var catalog: [CatalogEntry] = Catalog.entries

    /// `$MORU_HOME`, else `$XDG_DATA_HOME/moru`, else `~/.local/share/moru`.
    public static var defaultRoot: String { defaultRoot(in: ProcessInfo.processInfo.environment) }

    static func defaultRoot(in environment: [String: String]) -> String {
        if let home = environment["MORU_HOME"], !home.isEmpty { return home }
        if let data = environment["XDG_DATA_HOME"], data.hasPrefix("/") { return "\(data)/moru" }
        let home = environment["HOME"].flatMap { $0.isEmpty ? nil : $0 } ?? NSHomeDirectory()
        return "\(home)/.local/share/moru"
    }

    /// Opens the store; nothing is created before something is pulled.
    ///
    /// - Parameters:
    ///   - root: The directory of the store, by default ``defaultRoot``.
    ///   - environment: The variables that say where the hub is, which token to use and where files may lie.
    public init(root: String? = nil, environment: [String: String] = ProcessInfo.processInfo.environment) {
        self.root = root ?? Self.defaultRoot(in: environment)
        self.environment = environment
    }

    /// The folder that holds the models' directories.
    public var modelsDirectory: String { "\(root)/models" }

    /// The models in the store, by name. One that is damaged is listed, with its problem.
    ///
    /// - Throws: ``MoruError/Code/fileUnreadable``.
    public func models() throws(MoruError) -> [StoredModel] {
        guard FileSystem.exists(modelsDirectory) else { return [] }
        var models: [StoredModel] = []
        for name in try FileSystem.list(modelsDirectory) where !name.hasPrefix(".") && !name.hasSuffix(".partial") {
            let directory = "\(modelsDirectory)/\(name)"
            guard FileSystem.isDirectory(directory) else { continue }
            do throws(MoruError) {
                if var model = try StoredModel.read(directory: directory, name: name) {
                    model.problem = model.damage
                    models.append(model)
                } else {
                    models.append(unlisted(name, directory))
                }
            } catch {
                var model = unlisted(name, directory)
                model.problem = error.message
                models.append(model)
            }
        }
        return models
    }

    private func unlisted(_ name: String, _ directory: String) -> StoredModel {
        StoredModel(name: name, directory: directory, files: [], size: FileSize.ofTree(directory))
    }

    /// Where a model lies, if it is on this machine: the path to load it from.
    ///
    /// - Returns: A directory or a `.gguf` file; nil when the model would have to be pulled first.
    /// - Throws: ``MoruError/Code/modelUnknown`` for a name that is neither catalogued nor stored,
    ///   ``MoruError/Code/modelDamaged`` when files are missing, or ``MoruError/Code/fileNotFound`` for a path.
    public func locate(_ reference: ModelReference) throws(MoruError) -> String? {
        if case .path(let path) = reference.kind {
            guard FileSystem.exists(path) else {
                throw MoruError(.fileNotFound, "\(path) does not exist", remedy: "check the path")
            }
            return path
        }
        let name = try storedName(reference)
        let directory = "\(modelsDirectory)/\(name)"
        guard FileSystem.isDirectory(directory) else {
            if case .name(let wanted) = reference.kind, entry(named: wanted) == nil { throw unknown(wanted) }
            return nil
        }
        guard let model = try StoredModel.read(directory: directory, name: name) else { return directory }
        if let damage = model.damage {
            throw MoruError(
                .modelDamaged, "the model '\(name)' in \(directory) is damaged: \(damage)",
                remedy: "pull it anew: moru pull --force \(reference)")
        }
        return model.path
    }

    /// Removes a model, and what an interrupted pull of it left.
    ///
    /// - Parameter name: The name of a stored model, or anything that ``ModelReference/init(parsing:)`` reads.
    /// - Throws: ``MoruError/Code/modelUnknown``, or ``MoruError/Code/modelBusy`` while it is being pulled.
    public func remove(_ name: String) throws(MoruError) {
        var stored = name
        if !isStored(name) {
            if case .path = try ModelReference(parsing: name).kind {
                throw MoruError(
                    .modelUnknown, "'\(name)' is a path, not a model of the store",
                    remedy: "remove the files yourself; moru models lists the store")
            }
            stored = try storedName(ModelReference(parsing: name))
            guard isStored(stored) else { throw unknown(name) }
        }
        let lockPath = self.lockPath(stored)
        guard let lock = try FileLock.attempt(lockPath) else {
            throw MoruError(
                .modelBusy, "the model '\(stored)' is in use by a pull of \(FileLock.holder(of: lockPath))",
                remedy: "wait until the pull has ended, or stop it")
        }
        defer { withExtendedLifetime(lock) {} }
        let directory = "\(modelsDirectory)/\(stored)"
        // The model goes in one step, so that nobody sees half of it.
        let grave = "\(modelsDirectory)/.removed-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        if FileSystem.exists(directory), rename(directory, grave) != 0 {
            throw FileSystem.error(writing: directory, errno: errno)
        }
        for name in try FileSystem.list(modelsDirectory) where name.hasPrefix(".removed-") {
            FileSystem.remove("\(modelsDirectory)/\(name)")
        }
        FileSystem.remove("\(directory).partial")
    }

    // MARK: - Names

    private func isStored(_ name: String) -> Bool {
        Self.isDirectoryName(name)
            && (FileSystem.isDirectory("\(modelsDirectory)/\(name)")
                || FileSystem.isDirectory("\(modelsDirectory)/\(name).partial"))
    }

    private static func isDirectoryName(_ name: String) -> Bool {
        SafeFileName.problem(with: name) == nil && !name.contains("/") && !name.hasPrefix(".")
            && !name.hasSuffix(".partial")
    }

    func lockPath(_ name: String) -> String { "\(modelsDirectory)/.locks/\(name)" }

    func entry(named name: String) -> CatalogEntry? {
        let wanted = name.lowercased()
        return catalog.first { entry in
            entry.name == wanted || entry.aliases.contains { $0.lowercased() == wanted }
        }
    }

    /// The name of the directory that a reference other than a path stands for.
    func storedName(_ reference: ModelReference) throws(MoruError) -> String {
        var name = reference.storedName ?? ""
        if case .name(let wanted) = reference.kind, let entry = entry(named: wanted) { name = entry.name }
        guard Self.isDirectoryName(name) else {
            throw MoruError(
                .modelReferenceMalformed, "'\(reference)' is not the name of a model",
                remedy: "for example: \(Catalog.defaultModel), or hf:ORG/REPO")
        }
        return name
    }

    func unknown(_ name: String) -> MoruError {
        let stored = ((try? models()) ?? []).map(\.name)
        let names = catalog.flatMap { [$0.name] + $0.aliases } + stored
        var remedy = "the catalog has: \(catalog.map(\.name).joined(separator: ", "))"
        if !stored.isEmpty { remedy += "; the store has: \(stored.joined(separator: ", "))" }
        remedy += "; a repository of the hub is named hf:ORG/REPO"
        if let nearest = nearestName(to: name, among: names) { remedy = "did you mean '\(nearest)'? " + remedy }
        return MoruError(.modelUnknown, "there is no model called '\(name)'", remedy: remedy)
    }
}
