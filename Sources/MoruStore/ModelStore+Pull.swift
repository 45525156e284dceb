import Foundation
import MoruBase

extension ModelStore {
    /// Brings a model into the store: looks for its files here, then fetches them, checks every hash, and puts the
    /// model in its place in one step. An interrupted pull leaves a `.partial` directory, from which the next one goes
    /// on; whatever was there before stays as it was until the new model is whole.
    ///
    /// - Parameters:
    ///   - reference: A catalogued name, or a repository of the hub.
    ///   - force: Whether to pull anew what is already here.
    ///   - progress: Told about every step, also why a source was passed over.
    /// - Returns: The model, which may have been here already.
    /// - Throws: ``MoruError``: ``MoruError/Code/pullFailed`` when every source of a catalogued model failed, what
    ///   ``HubClient`` throws, ``MoruError/Code/hashMismatch``, ``MoruError/Code/sizeMismatch``,
    ///   ``MoruError/Code/diskFull``, ``MoruError/Code/cancelled``.
    public func pull(
        _ reference: ModelReference, force: Bool = false,
        progress: @escaping @Sendable (PullProgress) -> Void = { _ in }
    ) async throws -> StoredModel {
        do {
            return try await pullModel(reference, force: force, progress: progress)
        } catch is CancellationError {
            throw MoruError(
                .cancelled, "the pull of \(reference) was stopped", remedy: "run it again; it resumes where it stopped")
        }
    }

    private func pullModel(
        _ reference: ModelReference, force: Bool, progress: @escaping @Sendable (PullProgress) -> Void
    ) async throws -> StoredModel {
        if case .path(let path) = reference.kind {
            throw MoruError(
                .modelReferenceMalformed, "'\(path)' is a path, so there is nothing to pull",
                remedy: "use the path as the model, or name a model of the catalog or hf:ORG/REPO")
        }
        let name = try storedName(reference)
        if case .name(let wanted) = reference.kind, entry(named: wanted) == nil {
            throw FileSystem.isDirectory("\(modelsDirectory)/\(name)")
                ? MoruError(
                    .modelUnknown, "'\(wanted)' is in the store, but no source of it is known",
                    remedy: "use it as it is, or pull hf:ORG/REPO")
                : unknown(wanted)
        }
        if !force, let here = intact(name) {
            progress(PullProgress(.done, receivedBytes: here.size, totalBytes: here.size, note: "already here"))
            return here
        }
        let lock = try await FileLock.wait(for: lockPath(name)) { holder in
            progress(PullProgress(.looking, note: "\(holder) is pulling \(name) too; waiting for it"))
        }
        defer { withExtendedLifetime(lock) {} }
        if !force, let here = intact(name) {
            progress(PullProgress(.done, receivedBytes: here.size, totalBytes: here.size, note: "already here"))
            return here
        }
        let workspace = try PullWorkspace(directory: "\(modelsDirectory)/\(name).partial")
        let run = PullRun(
            store: self, reference: reference, name: name, workspace: workspace, progress: progress)
        do {
            let model: StoredModel
            switch reference.kind {
            case .name(let wanted): model = try await run.pull(entry(named: wanted) ?? Catalog.find(wanted))
            case .hub(let repository, let revision, let file):
                model = try await run.pull(repository: repository, revision: revision, file: file)
            case .path: throw MoruError(.modelReferenceMalformed, "'\(reference)' is a path")
            }
            try workspace.finish(as: model)
            progress(PullProgress(.done, receivedBytes: model.size, totalBytes: model.size, source: model.source))
            return model
        } catch {
            workspace.removeIfUseless(names: run.wanted.map(\.name))
            throw error
        }
    }

    /// The stored model of that name, if all its files are there.
    private func intact(_ name: String) -> StoredModel? {
        guard let model = try? StoredModel.read(directory: "\(modelsDirectory)/\(name)", name: name),
            model.damage == nil
        else { return nil }
        return model
    }
}
