import MoruBase

extension CatalogState {
    /// The model that a name stands for now.
    ///
    /// - Throws: ``MoruError/Code/modelUnknown``.
    mutating func model(for name: String, user: String) throws(MoruError) -> String {
        if entries[name] != nil { return name }
        guard let route = routes[name] else { throw unknown(name) }
        return route.choose(as: name, user: user, using: &generator)
    }

    /// Sets a route, in place of one of the same name.
    ///
    /// - Throws: ``MoruError/Code/routeInvalid``, also for a route to a route; ``MoruError/Code/modelNameTaken`` when a
    ///   model has the name, ``MoruError/Code/modelUnknown`` for a route to what is not there,
    ///   ``MoruError/Code/modelBusy`` for one to a model that is still being added, and goes if it cannot be loaded.
    mutating func set(_ route: ModelRoute, as name: String) throws(MoruError) {
        try route.validate(as: name)
        guard entries[name] == nil else {
            throw MoruError(
                .modelNameTaken, "there is already a model '\(name)'", remedy: "give the route another name")
        }
        for share in route.shares where entries[share.model] == nil {
            guard let other = routes[share.model] else { throw unknown(share.model) }
            let leadsBack = other.shares.contains { $0.model == name }
            throw MoruError(
                .routeInvalid,
                "the route '\(name)' leads to '\(share.model)', which is a route itself"
                    + (leadsBack ? " and leads back" : ""),
                remedy: "name models: \(other.shares.map(\.model).quoted)")
        }
        if let share = route.shares.first(where: { entries[$0.model]?.isBeingAdded == true }) {
            throw MoruError(
                .modelBusy, "the route '\(name)' leads to '\(share.model)', and '\(share.model)' is being added",
                remedy: "try again when it has been loaded")
        }
        if routes[name] == nil { routeNames.append(name) }
        routes[name] = route
    }

    /// Takes a route out.
    ///
    /// - Throws: ``MoruError/Code/modelUnknown``.
    mutating func removeRoute(_ name: String) throws(MoruError) {
        guard routes[name] != nil else {
            let nearest = nearestName(to: name, among: routeNames).map { "did you mean '\($0)'?" }
            throw MoruError(.modelUnknown, "there is no route '\(name)'", remedy: nearest)
        }
        routes[name] = nil
        routeNames.removeAll { $0 == name }
    }
}
