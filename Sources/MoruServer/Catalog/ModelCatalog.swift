import Foundation
import MoruBase
import MoruEngine
import MoruTensor
import Synchronization

/// The models of a server. They are loaded at start-up or on the first request, unloaded while idle if others need their
/// memory, and can be added, replaced and removed while the server runs.
///
///     let catalog = try ModelCatalog([ModelSpecification(name: "smollm2", source: "models/smollm2.gguf")])
///     try await MoruServer(catalog: catalog).run()
public final class ModelCatalog: Sendable {
    private let state: Mutex<CatalogState>
    let loader: ModelLoader
    /// The engine configuration of models that are added while the server runs.
    let engineDefaults: EngineConfiguration
    /// How long a failed load is reported again before the next attempt.
    private let retryPause: Duration
    /// How long a request waits for its model to load; nil for no limit.
    private let loadWait: Duration?
    private let lastWaiterID = Atomic(0)

    /// How long a request waits for its model to load, unless the server's configuration says otherwise.
    public static let defaultLoadWait = Duration.seconds(60)

    /// Makes a catalog of models that are not loaded yet.
    ///
    /// - Parameters:
    ///   - specifications: The models, each base before its adapters.
    ///   - budget: The maximum size of the weights and KV caches of all loaded models, in bytes; nil for no limit. An
    ///     engine whose configuration sets no limit takes at most a quarter of it for its KV cache.
    ///   - retryPause: How long a failed load is reported again before the next attempt.
    ///   - loadWait: How long a request waits for its model to load before it is refused; nil for no limit. The model
    ///     goes on loading.
    ///   - engineDefaults: The engine configuration of models that are added while the server runs.
    ///   - seed: Decides how a route distributes requests among its models.
    ///   - locate: Resolves the source of a specification to a path.
    /// - Throws: ``MoruError/Code/serverConfiguration``, or ``MoruError/Code/modelUnknown`` for an adapter whose base is
    ///   not among those before it.
    public init(
        _ specifications: [ModelSpecification] = [], budget: Int? = nil, retryPause: Duration = .seconds(10),
        loadWait: Duration? = defaultLoadWait, engineDefaults: EngineConfiguration = .init(),
        seed: UInt64 = .random(in: 0 ... .max),
        locate: @escaping @Sendable (String) throws -> String = { $0 }
    ) throws(MoruError) {
        if let budget, budget < 1 {
            throw MoruError(.serverConfiguration, "the memory budget is \(budget) bytes", remedy: "use more, or none")
        }
        if let loadWait, loadWait < .zero {
            throw MoruError(
                .serverConfiguration, "the wait for a model to load is \(loadWait)", remedy: "use 0 or more")
        }
        var state = CatalogState(budget: budget, seed: seed)
        for specification in specifications { try Self.add(specification, to: &state) }
        self.state = Mutex(state)
        (self.retryPause, self.loadWait, self.engineDefaults) = (retryPause, loadWait, engineDefaults)
        loader = ModelLoader(locate: locate, defaultCacheBytes: budget.map { $0 / 4 })
    }

    /// Makes a catalog of models that are already loaded. They stay loaded until they are removed.
    ///
    /// - Throws: ``MoruError/Code/serverConfiguration`` when there are none or a name occurs twice.
    public convenience init(loaded models: [ServedModel]) throws(MoruError) {
        try self.init()
        guard !models.isEmpty else {
            throw MoruError(.serverConfiguration, "there is no model to serve", remedy: "name one")
        }
        try state.withLock { state throws(MoruError) in
            for model in models {
                let base = models.first { $0.adapter == nil && model.adapter != nil && $0.isOnSameEngine(as: model) }
                try Self.add(ModelSpecification(name: model.name, source: "", base: base?.name), to: &state)
                state.update(model.name) { $0.isGiven = true }
                _ = try state.install(
                    OpenedModel(function: model.function, weightBytes: 0), as: model.name,
                    base: base.flatMap { state.resident(of: $0.name)?.id })
            }
        }
    }

    private static func add(
        _ specification: ModelSpecification, to state: inout CatalogState
    ) throws(MoruError) {
        guard state.entries[specification.name] == nil else {
            throw MoruError(
                .serverConfiguration, "two models are named '\(specification.name)'",
                remedy: "give each its own name")
        }
        try state.add(specification)
    }

    /// Changes or reads the state; shuts down the engines that leave it.
    func withState<Value>(
        _ body: (inout CatalogState) throws(MoruError) -> (Value, [CatalogState.Resident])
    ) throws(MoruError) -> Value {
        let (value, gone) = try state.withLock { state throws(MoruError) in try body(&state) }
        Self.end(gone)
        return value
    }

    /// Reads the state.
    func read<Value>(_ body: (CatalogState) -> Value) -> Value { state.withLock { body($0) } }

    // MARK: - Use

    /// The model that a name stands for, or the first where none is given, to be used; it is loaded first if it is not
    /// loaded yet.
    ///
    /// - Parameter user: The user who sends the request, for sticky routes.
    /// - Throws: ``APIError`` that names the models there are, or says why this one cannot be loaded, that it takes
    ///   longer than requests wait, or that the client has gone while it waited.
    func lease(_ name: String?, user: String = "") async throws(APIError) -> ModelLease {
        do {
            let name = name ?? defaultName
            let model = try withState { state throws(MoruError) in (try state.model(for: name, user: user), []) }
            let resident = try await requestedResident(of: model, within: loadWait)
            RequestRecord.current?.note(resident.model)
            return lease(on: resident)
        } catch {
            throw APIError(error, param: "model")
        }
    }

    /// The model chosen by a request, to be used.
    func lease(_ choice: ModelChoice) async throws(APIError) -> ModelLease {
        try await lease(choice.name, user: choice.user)
    }

    /// A lease on a resident that is in use already.
    private func lease(on resident: CatalogState.Resident) -> ModelLease {
        ModelLease(resident.model) { [self] in release(resident.id) }
    }

    func release(_ id: CatalogState.Resident.ID) {
        Self.end(state.withLock { $0.release(id) })
    }

    private static func end(_ gone: [CatalogState.Resident]) {
        guard !gone.isEmpty else { return }
        let leaving = LeavingModels(gone.map(\.model))
        Task.detached { await leaving.end() }
    }

    /// The loaded model of a name as ``resident(of:within:)`` gives it, for the request that the current task answers:
    /// it waits only while its client does.
    func requestedResident(of name: String, within limit: Duration? = nil) async throws -> CatalogState.Resident {
        if let resident = state.withLock({ $0.take(name) }) { return resident }
        return try await ConnectionMonitor.cancellingOnClose { try await self.resident(of: name, within: limit) }
    }

    /// The loaded model of a name, marked as in use: the caller must release it. Concurrent callers wait for a single
    /// load, which goes on when they are cancelled.
    ///
    /// - Parameter limit: How long to wait for the load; nil for as long as it takes.
    /// - Throws: ``MoruError/Code/modelUnknown``, ``MoruError/Code/modelLoadFailed`` with the reason,
    ///   ``MoruError/Code/modelLoading`` when the time is up, or ``MoruError/Code/cancelled``.
    func resident(of name: String, within limit: Duration? = nil) async throws(MoruError) -> CatalogState.Resident {
        if let resident = state.withLock({ $0.take(name) }) { return resident }
        let id = lastWaiterID.add(1, ordering: .relaxed).newValue
        var timer: Task<Void, any Error>?
        let cancelled = MoruError(.cancelled, "the request was cancelled while the model '\(name)' was being loaded")
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                ask(for: name, CatalogState.Waiter(id: id) { continuation.resume(returning: $0) })
                // Whoever is cancelled before that is not found by the handler
                if Task.isCancelled { endWait(of: id, for: name, with: cancelled) }
                timer = limit.map { limit in
                    Task {
                        try await Task.sleep(for: limit)
                        let error = MoruError(
                            .modelLoading, "the model '\(name)' is still being loaded after \(limit)",
                            remedy: "ask again when it has been loaded, or raise the server's --load-wait")
                        self.endWait(of: id, for: name, with: error)
                    }
                }
            }
        } onCancel: {
            endWait(of: id, for: name, with: cancelled)
        }
        timer?.cancel()
        return try result.get()
    }

    /// Refuses a request that still waits for its model.
    private func endWait(of id: CatalogState.Waiter.ID, for name: String, with error: MoruError) {
        let waiter = state.withLock { $0.removeWaiter(id, of: name) }
        waiter?.resume(.failure(error))
    }

    private enum Step {
        case done(Result<CatalogState.Resident, MoruError>)
        case wait
        case load(ModelSpecification)
    }

    private func ask(for name: String, _ waiter: CatalogState.Waiter) {
        let step: Step = state.withLock { state in
            if let resident = state.take(name) { return .done(.success(resident)) }
            guard let entry = state.entries[name] else { return .done(.failure(state.unknown(name))) }
            if case .loading(let waiters) = entry.status {
                state.update(name) { $0.status = .loading(waiters + [waiter]) }
                return .wait
            }
            if case .failed(let error, let time) = entry.status, ContinuousClock.now - time < retryPause {
                return .done(.failure(error))
            }
            state.update(name) { $0.status = .loading([waiter]) }
            return .load(entry.specification)
        }
        switch step {
        case .done(let result): waiter.resume(result)
        case .wait: break
        case .load(let specification): beginLoading(specification)
        }
    }

    // MARK: - Loading

    /// Loads the models that are to be loaded at start-up, and checks that the others exist.
    ///
    /// - Throws: Why one of them cannot be loaded or is not there.
    public func prepare() async throws {
        let specifications = read { state in state.names.compactMap { state.entries[$0] } }
            .filter { !$0.isGiven }.map(\.specification)
        for specification in specifications {
            guard specification.loadsAtStart else {
                _ = try loader.path(of: specification)
                continue
            }
            do throws(MoruError) {
                release(try await resident(of: specification.name).id)
            } catch {
                throw error.cause as? MoruError ?? error
            }
        }
    }

    /// Loads the model of an entry that is marked as loading, in a task of its own.
    func beginLoading(_ specification: ModelSpecification) {
        Task.detached { await self.load(specification) }
    }

    /// Loads the model of an entry that is marked as loading, and hands it to the waiting requests.
    private func load(_ specification: ModelSpecification) async {
        let name = specification.name
        do {
            while !(try await attempt(specification)) {}
        } catch {
            let waiters = state.withLock { state -> [CatalogState.Waiter] in
                guard let entry = state.entries[name], case .loading(let waiters) = entry.status else { return [] }
                guard !entry.isBeingAdded else {
                    state.remove(name)
                    return waiters
                }
                // A lack of memory may be over at any moment, so the next request tries again
                let isPassing = [.memoryInUse, .modelTooLarge].contains(error.code)
                state.update(name) { $0.status = isPassing ? .unloaded : .failed(error, at: .now) }
                return waiters
            }
            for waiter in waiters { waiter.resume(.failure(error)) }
        }
    }

    /// Loads a model once; false where its base was replaced meanwhile.
    private func attempt(_ specification: ModelSpecification) async throws(MoruError) -> Bool {
        let name = specification.name
        var base: CatalogState.Resident?
        if let its = specification.base { base = try await resident(of: its) }
        defer { if let base { release(base.id) } }
        let opened = try await open(specification, on: base?.model)
        let installed: (resident: CatalogState.Resident, waiters: [CatalogState.Waiter])?
        installed = try withState { state throws(MoruError) in
            guard case .loading(let waiters) = state.entries[name]?.status else { throw state.unknown(name) }
            if let base, state.resident(of: base.model.name)?.id != base.id { return (nil, []) }
            let (resident, gone) = try state.install(opened, as: name, base: base?.id, waiting: waiters.count)
            return ((resident, waiters), gone)
        }
        guard let installed else { return false }
        for waiter in installed.waiters { waiter.resume(.success(installed.resident)) }
        return true
    }

    /// Opens the files of a specification, on a thread of its own: those that serve requests are as few as processors.
    ///
    /// - Throws: ``MoruError/Code/modelLoadFailed``, or for an adapter what went wrong with its base.
    func open(_ specification: ModelSpecification, on base: ServedModel?) async throws(MoruError) -> OpenedModel {
        let result: Result<OpenedModel, any Error> = await withCheckedContinuation { continuation in
            Thread.detachNewThread { [loader] in
                continuation.resume(
                    returning: Result {
                        if let base { try loader.open(specification, on: base) } else { try loader.open(specification) }
                    })
            }
        }
        switch result {
        case .success(let opened): return opened
        case .failure(let error):
            let reason = error as? MoruError
            throw MoruError(
                .modelLoadFailed,
                "the model '\(specification.name)' could not be loaded: \(reason?.message ?? "\(error)")",
                remedy: reason?.remedy, cause: error)
        }
    }
}

/// Models that are no longer in use.
private final class LeavingModels: Sendable {
    private let models: Mutex<[ServedModel]>

    init(_ models: [ServedModel]) { self.models = Mutex(models) }

    /// Shuts down their engines and returns their memory.
    func end() async {
        await shutDownEngines()
        models.withLock { $0 = [] }
        Allocator.shared.trim()
    }

    private func shutDownEngines() async {
        for case .generator(let generator, adapter: nil) in models.withLock({ $0 }).map(\.function) {
            await generator.engine.shutdown()
        }
    }
}
