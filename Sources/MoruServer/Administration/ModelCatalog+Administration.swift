import MoruBase

// What is done to a catalogue while it serves.
extension ModelCatalog {
    /// Sets a route, in place of one of the same name.
    ///
    /// - Throws: ``MoruError/Code/routeInvalid``, ``MoruError/Code/modelNameTaken``, ``MoruError/Code/modelUnknown``
    ///   or ``MoruError/Code/modelBusy`` while a model is still being added.
    public func set(_ route: ModelRoute, as name: String) throws(MoruError) {
        try withState { state throws(MoruError) in (try state.set(route, as: name), []) }
    }

    /// Takes a route out.
    ///
    /// - Throws: ``MoruError/Code/modelUnknown``.
    func removeRoute(_ name: String) throws(MoruError) {
        try withState { state throws(MoruError) in (try state.removeRoute(name), []) }
    }

    /// Adds a model and loads it. One that cannot be loaded is not added.
    ///
    /// - Throws: As ``CatalogState/add(_:)``, and why it cannot be loaded.
    func add(_ specification: ModelSpecification) async throws {
        try withState { state throws(MoruError) in
            try state.add(specification)
            state.update(specification.name) { $0.isBeingAdded = true }
            return ((), [])
        }
        try await load(specification.name)
    }

    /// Loads a model of the catalogue, where it is not loaded.
    ///
    /// - Throws: ``MoruError/Code/modelUnknown``, or why it cannot be loaded.
    func load(_ name: String) async throws {
        try withState { state throws(MoruError) in
            // Somebody asks for another attempt
            if case .failed = state.entries[name]?.status { state.update(name) { $0.status = .unloaded } }
            return ((), [])
        }
        release(try await requestedResident(of: name).id)
    }

    /// Unloads a model and the adapters on it. Requests at work are finished; the next one loads it again.
    ///
    /// - Parameter removes: Whether its name goes as well.
    /// - Returns: How many requests are still at work with it.
    /// - Throws: ``MoruError/Code/modelUnknown``, or ``MoruError/Code/modelBusy`` while it is being loaded or swapped, or
    ///   when it is to be removed and others need it.
    func unload(_ name: String, removes: Bool) throws(MoruError) -> Int {
        try withState { state throws(MoruError) in
            guard let entry = state.entries[name] else { throw state.unknown(name) }
            try state.requireIdle(name)
            if removes {
                let users =
                    state.adapters(on: name)
                    + state.routeNames.filter { route in
                        state.routes[route]?.shares.contains { $0.model == name } == true
                    }
                guard users.isEmpty else {
                    throw MoruError(
                        .modelBusy, "'\(name)' cannot be removed: \(users.quoted) would lead nowhere",
                        remedy: "remove or change these first")
                }
            } else if entry.isGiven {
                throw MoruError(
                    .modelBusy, "'\(name)' could not be loaded again, since the server was started with it loaded",
                    remedy: "remove it, or swap it")
            }
            let working = state.resident(of: name)?.leases ?? 0
            let gone = state.leave(name)
            if removes { state.remove(name) }
            return (working, gone)
        }
    }

    /// Puts another model in place of one under the same name: new requests go to the new one when it is loaded, those
    /// at work are finished with the old. Adapters that are loaded move to the new base.
    ///
    /// - Throws: Why the new one cannot be loaded, or an adapter not moved, or ``MoruError/Code/modelBusy``; the old
    ///   one then stays.
    func swap(_ specification: ModelSpecification) async throws {
        let name = specification.name
        try specification.validate()
        try withState { state throws(MoruError) in
            guard state.entries[name] != nil else { throw state.unknown(name) }
            try state.requireIdle(name)
            state.update(name) { entry in
                entry.isSwapping = true
                // Who asks for what is not loaded waits for the new one
                if case .ready = entry.status {} else { entry.status = .loading([]) }
            }
            return ((), [])
        }
        do {
            let (resident, waiters) = try await replace(specification)
            for waiter in waiters { waiter.resume(.success(resident)) }
        } catch {
            let former = try withState { state throws(MoruError) in
                state.update(name) { $0.isSwapping = false }
                guard case .loading(let waiters) = state.entries[name]?.status, waiters.isEmpty else {
                    return (state.entries[name], [])
                }
                state.update(name) { $0.status = .unloaded }
                return (nil, [])
            }
            if let former, case .loading = former.status { beginLoading(former.specification) }
            throw error
        }
    }

    /// Loads the new model and puts it in place of the old one. Returns it, in use by those who wait for it.
    private func replace(
        _ specification: ModelSpecification
    ) async throws(MoruError) -> (CatalogState.Resident, [CatalogState.Waiter]) {
        let name = specification.name
        var base: CatalogState.Resident?
        if let its = specification.base { base = try await resident(of: its) }
        defer { if let base { release(base.id) } }
        let opened = try await open(specification, on: base?.model)
        let successor = ServedModel(name: name, opened.function)
        var adapters: [(specification: ModelSpecification, opened: OpenedModel)] = []
        let loaded = read { state in
            state.adapters(on: name).filter { state.resident(of: $0) != nil }.compactMap { state.entries[$0] }
        }
        for adapter in loaded.map(\.specification) {
            do throws(MoruError) {
                adapters.append((adapter, try await open(adapter, on: successor)))
            } catch {
                throw error.within("'\(name)' stays as it is")
            }
        }
        return try withState { state throws(MoruError) in
            if let base, state.resident(of: base.model.name)?.id != base.id {
                throw MoruError(.modelBusy, "'\(base.model.name)' was replaced meanwhile", remedy: "try again")
            }
            let moving = adapters.filter { adapter in
                let name = adapter.specification.name
                return state.resident(of: name) != nil && state.entries[name]?.specification == adapter.specification
            }
            var waiters: [CatalogState.Waiter] = []
            if case .loading(let waiting) = state.entries[name]?.status { waiters = waiting }
            var next = state
            next.update(name) { entry in
                entry.specification = specification
                entry.revision += 1
                (entry.isGiven, entry.isSwapping) = (false, false)
            }
            var (resident, gone) = try next.install(opened, as: name, base: base?.id, waiting: waiters.count)
            for adapter in moving {
                gone += try next.install(adapter.opened, as: adapter.specification.name, base: resident.id).gone
            }
            state = next
            return ((resident, waiters), gone)
        }
    }
}

extension CatalogState {
    /// Refuses to touch a model with which something is being done.
    fileprivate func requireIdle(_ name: String) throws(MoruError) {
        guard let entry = entries[name] else { return }
        var work: String?
        if case .loading = entry.status { work = "loaded" }
        if entry.isSwapping { work = "replaced" }
        if let work {
            throw MoruError(.modelBusy, "'\(name)' is being \(work)", remedy: "try again when that is done")
        }
    }
}
