import Foundation
import MoruBase

/// The models of a catalog, which of them are loaded, and how many requests use each: a value without I/O.
///
/// A loaded model is a resident. An adapter's resident depends on its base's, so using the adapter also uses the base. A
/// resident that is unloaded while in use leaves its entry at once, and memory when the last request on it ends.
struct CatalogState {
    /// A model of the catalog.
    struct Entry {
        var specification: ModelSpecification
        var status = Status.unloaded
        /// How often the model under this name has been replaced, plus 1.
        var revision = 1
        /// When it was added, in seconds since 1970.
        let added = Int(Date().timeIntervalSince1970)
        /// Whether it was passed in already loaded, and so cannot be loaded again.
        var isGiven = false
        var isSwapping = false
        /// Whether it was added while the server runs and has not been loaded since: it goes if it cannot be.
        var isBeingAdded = false

        /// The version given after the last `@` of the name, or else the revision.
        var version: String { ModelSpecification.version(of: specification.name) ?? String(revision) }
    }

    /// The state of an entry's model.
    enum Status {
        case unloaded
        case loading([Waiter])
        case ready(Resident.ID)
        case failed(MoruError, at: ContinuousClock.Instant)
    }

    /// A request that waits for a model to load.
    struct Waiter: Sendable, Identifiable {
        let id: Int
        /// Takes the resident, which is in use from then on, or what went wrong.
        let resume: @Sendable (Result<Resident, MoruError>) -> Void
    }

    /// A loaded model.
    struct Resident: Sendable, Identifiable {
        let id: Int
        let model: ServedModel
        let weightBytes: Int
        let cacheBytes: Int
        /// The base of an adapter.
        let base: ID?
        var leases = 0
        /// When it was last used; larger is later.
        var lastUse = 0
        /// Whether it has left its entry.
        var isLeaving = false

        var bytes: Int { weightBytes + cacheBytes }
    }

    /// The maximum size of all residents in bytes; nil for no limit.
    let budget: Int?
    private(set) var names: [String] = []
    private(set) var entries: [String: Entry] = [:]
    private(set) var residents: [Resident.ID: Resident] = [:]
    /// The names of routes, in order.
    var routeNames: [String] = []
    var routes: [String: ModelRoute] = [:]
    /// The random choices of routes.
    var generator: SplitMix64
    private var clock = 0
    private var nextID = 0

    init(budget: Int?, seed: UInt64 = .random(in: 0 ... .max)) {
        (self.budget, generator) = (budget, SplitMix64(seed: seed))
    }

    /// Bytes of all residents.
    var usedBytes: Int { residents.values.reduce(0) { $0 + $1.bytes } }

    /// Changes an entry; does nothing if there is none of this name.
    mutating func update(_ name: String, _ change: (inout Entry) -> Void) {
        guard var entry = entries[name] else { return }
        change(&entry)
        entries[name] = entry
    }

    /// Takes out a waiter for the model of a name; nil where the wait is over already.
    mutating func removeWaiter(_ id: Waiter.ID, of name: String) -> Waiter? {
        guard case .loading(var waiters) = entries[name]?.status,
            let index = waiters.firstIndex(where: { $0.id == id })
        else { return nil }
        let waiter = waiters.remove(at: index)
        update(name) { $0.status = .loading(waiters) }
        return waiter
    }

    /// The loaded model of a name.
    func resident(of name: String) -> Resident? {
        guard case .ready(let id) = entries[name]?.status else { return nil }
        return residents[id]
    }

    /// The adapters that act on a model.
    func adapters(on name: String) -> [String] { names.filter { entries[$0]?.specification.base == name } }

    // MARK: - Entries

    /// Adds an entry at the end.
    ///
    /// - Throws: ``MoruError/Code/serverConfiguration`` when it makes no sense, ``MoruError/Code/modelNameTaken`` when
    ///   the name is taken, ``MoruError/Code/modelUnknown`` for an adapter on a model that is not there.
    mutating func add(_ specification: ModelSpecification) throws(MoruError) {
        try specification.validate()
        let name = specification.name
        guard entries[name] == nil, routes[name] == nil else {
            throw MoruError(
                .modelNameTaken, "there is already a \(entries[name] == nil ? "route" : "model") '\(name)'",
                remedy: "give this one another name, or swap the existing one")
        }
        if let base = specification.base {
            guard let its = entries[base] else { throw unknown(base) }
            guard its.specification.base == nil else {
                throw MoruError(
                    .serverConfiguration, "the adapter '\(name)' acts on '\(base)', which is an adapter itself",
                    remedy: "name the model that it was tuned on")
            }
        }
        names.append(name)
        entries[name] = Entry(specification: specification)
    }

    /// Takes an entry out. Its model must have been unloaded.
    mutating func remove(_ name: String) {
        names.removeAll { $0 == name }
        entries[name] = nil
    }

    /// The error for an unknown name, with the nearest known one.
    func unknown(_ name: String) -> MoruError {
        let known = names + routeNames
        let nearest = nearestName(to: name, among: known).map { " Did you mean '\($0)'?" } ?? ""
        let list = known.isEmpty ? "none" : known.quoted
        return MoruError(.modelUnknown, "there is no model '\(name)'.\(nearest) This server has \(list)")
    }

    // MARK: - Use

    /// The loaded model of a name, marked as in use; nil if it is not loaded.
    mutating func take(_ name: String) -> Resident? {
        guard let resident = resident(of: name) else { return nil }
        use(resident.id)
        return residents[resident.id]
    }

    private mutating func use(_ id: Resident.ID) {
        clock += 1
        for id in [id, residents[id]?.base].compactMap(\.self) {
            residents[id]?.leases += 1
            residents[id]?.lastUse = clock
        }
    }

    /// Ends a use. Returns the residents that are removed as a result.
    mutating func release(_ id: Resident.ID) -> [Resident] {
        for id in [id, residents[id]?.base].compactMap(\.self) { residents[id]?.leases -= 1 }
        return dropLeft()
    }

    /// Removes the residents that have left their entries and are not in use.
    private mutating func dropLeft() -> [Resident] {
        let gone = residents.values.filter { $0.isLeaving && $0.leases == 0 }
        for resident in gone { residents[resident.id] = nil }
        return gone
    }

    // MARK: - Loading and unloading

    /// Makes room for a loaded model and puts it under its name, in place of a former one.
    ///
    /// - Parameter waiting: The number of requests that use it from now on.
    /// - Returns: The resident, and the residents that were removed.
    /// - Throws: ``MoruError/Code/modelTooLarge`` or ``MoruError/Code/memoryInUse``; nothing has changed then.
    mutating func install(
        _ opened: OpenedModel, as name: String, base: Resident.ID? = nil, waiting: Int = 0
    ) throws(MoruError) -> (resident: Resident, gone: [Resident]) {
        var gone = try makeRoom(for: opened, as: name, keeping: base)
        gone += leave(name)
        nextID += 1
        clock += 1
        let revision = entries[name]?.revision ?? 1
        residents[nextID] = Resident(
            id: nextID, model: ServedModel(name: name, revision: revision, opened.function),
            weightBytes: opened.weightBytes, cacheBytes: opened.cacheBytes, base: base, lastUse: clock)
        let id = nextID
        update(name) { entry in
            entry.status = .ready(id)
            entry.isBeingAdded = false
        }
        for _ in 0..<waiting { use(id) }
        guard let resident = residents[id] else { preconditionFailure("the resident was put there above") }
        return (resident, gone)
    }

    /// Takes the loaded model away from a name, and those of its adapters. Each is removed when it is no longer in use.
    ///
    /// - Returns: The residents that were removed at once.
    mutating func leave(_ name: String) -> [Resident] {
        guard let resident = resident(of: name) else { return [] }
        for other in names {
            guard let its = self.resident(of: other), its.id == resident.id || its.base == resident.id else { continue }
            residents[its.id]?.isLeaving = true
            update(other) { $0.status = .unloaded }
        }
        return dropLeft()
    }

    /// Unloads idle models, least recently used first, until there is room.
    private mutating func makeRoom(
        for opened: OpenedModel, as name: String, keeping base: Resident.ID?
    ) throws(MoruError) -> [Resident] {
        guard let budget, usedBytes + opened.bytes > budget else { return [] }
        let own = resident(of: name)?.id
        var candidates = names.compactMap { resident(of: $0) }
            .filter { $0.leases == 0 && $0.id != base && $0.id != own && !stays($0) }
            .sorted { $0.lastUse < $1.lastUse }
        let free = budget - usedBytes + candidates.reduce(0) { $0 + $1.bytes }
        guard opened.bytes <= free else { throw lackOfMemory(opened, name, budget: budget) }
        var gone: [Resident] = []
        while usedBytes + opened.bytes > budget, !candidates.isEmpty {
            gone += leave(candidates.removeFirst().model.name)
        }
        return gone
    }

    /// Whether a resident must not be unloaded to make room.
    private func stays(_ resident: Resident) -> Bool {
        names.contains { name in
            guard let its = self.resident(of: name), its.id == resident.id || its.base == resident.id,
                let entry = entries[name]
            else { return false }
            return entry.specification.isPinned || entry.isGiven || entry.isSwapping
        }
    }

    private func lackOfMemory(_ opened: OpenedModel, _ name: String, budget: Int) -> MoruError {
        func mebibytes(_ bytes: Int) -> String { "\((bytes + (1 << 20) - 1) >> 20) MiB" }
        let staying = residents.values.filter(stays).reduce(0) { $0 + $1.bytes }
        let parts =
            opened.cacheBytes > 0
            ? " (weights \(mebibytes(opened.weightBytes)), keys and values \(mebibytes(opened.cacheBytes)))" : ""
        let message = "the model '\(name)' takes \(mebibytes(opened.bytes))\(parts)"
        if opened.bytes > budget - staying {
            let pinned = staying > 0 ? ", of which pinned models take \(mebibytes(staying))" : ""
            return MoruError(
                .modelTooLarge, "\(message), and the memory budget is \(mebibytes(budget))\(pinned)",
                remedy: "raise the server's --memory, or lower the model's --kv-memory")
        }
        let busy = residents.values.filter { $0.leases > 0 && $0.base == nil }.map(\.model.name).sorted()
        return MoruError(
            .memoryInUse,
            "\(message), and the memory budget of \(mebibytes(budget)) is in use by \(busy.quoted)",
            remedy: "ask again when their requests have ended, or raise the server's --memory")
    }
}
