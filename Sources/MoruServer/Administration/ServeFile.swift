import Foundation
import MoruBase
import MoruEngine
import Yams

/// The configuration file of a server (`moru serve --config serve.yaml`): its models and adapters, aliases, weighted
/// routes, and the memory that they may take.
public struct ServeFile: Sendable {
    /// Bytes that loaded models take at most.
    public private(set) var budget: Int?
    /// How long a request waits for its model to load; nil where the file does not say.
    public private(set) var loadWait: Duration?
    /// The models, and after them the adapters.
    public private(set) var models: [ModelSpecification] = []
    /// The aliases and the routes.
    public private(set) var routes: [(name: String, route: ModelRoute)] = []

    /// Reads a file. Paths in it are relative to its directory.
    ///
    /// - Parameter engineDefaults: How engines go about their work where the file says nothing.
    /// - Throws: ``MoruError/Code/serverConfiguration``, naming file, line and key, and the nearest right key.
    public init(_ path: String, engineDefaults: EngineConfiguration = .init()) throws(MoruError) {
        let directory = (path as NSString).deletingLastPathComponent
        try self.init(
            yaml: try FileSystem.readText(path), source: path, directory: directory, engineDefaults: engineDefaults)
    }

    init(
        yaml: String, source: String, directory: String = "", engineDefaults: EngineConfiguration = .init()
    ) throws(MoruError) {
        let root: Node?
        do {
            root = try Yams.compose(yaml: yaml)
        } catch YamlError.duplicatedKeysInMapping(let keys, let context) {
            throw MoruError(
                .serverConfiguration,
                "\(source): \(keys.joined(separator: ", ")) occurs twice in the mapping at line \(context.mark.line)",
                remedy: "keep one of them")
        } catch {
            throw MoruError(
                .serverConfiguration, "\(source) is not valid YAML: \(error)",
                remedy: "check the indentation, and quote strings that hold a colon or a hash")
        }
        guard let root, root.mapping != nil else {
            throw MoruError(.serverConfiguration, "\(source) holds no keys", remedy: "it has at least the key models")
        }
        var room = Self.maximumValues
        let json = try Self.json(of: root, source, &room)
        do throws(APIError) {
            try read(RequestObject(json), directory, engineDefaults)
        } catch {
            let line = error.param.flatMap { Self.line(of: $0, in: root) }.map { ":\($0)" } ?? ""
            let message = error.message.replacing("Unknown parameter", with: "unknown key")
            throw MoruError(
                .serverConfiguration,
                "\(source)\(line): \(message.hasSuffix(".") ? String(message.dropLast()) : message)",
                remedy: "the keys are memory, load_wait, models, adapters, aliases and routes; see docs/serving.md")
        }
    }

    private mutating func read(
        _ file: RequestObject, _ directory: String, _ engineDefaults: EngineConfiguration
    ) throws(APIError) {
        var file = file
        budget = try file.int("memory", in: 1...1 << 30).map { $0 << 20 }
        loadWait = try file.number("load_wait", in: 0...1e9).map { .seconds(Double($0)) }
        for (place, value) in try file.array("models").enumerated() {
            var fields = try RequestObject(value, path: "models[\(place)]")
            var model = ModelSpecification(
                name: try fields.text("name"), source: "", engine: engineDefaults, loadsAtStart: budget == nil)
            _ = try fields.required("source")
            try SpecificationFields.read(&fields, into: &model)
            try fields.finish()
            model.source = Self.resolve(model.source, in: directory)
            model.draft = model.draft.map { Self.resolve($0, in: directory) }
            models.append(model)
        }
        for (place, value) in try file.array("adapters").enumerated() {
            var fields = try RequestObject(value, path: "adapters[\(place)]")
            var adapter = ModelSpecification(
                name: try fields.text("name"), source: try fields.text("source"), base: try fields.text("base"),
                engine: engineDefaults, loadsAtStart: try fields.bool("preload") ?? (budget == nil))
            adapter.isPinned = try fields.bool("pinned") ?? false
            try fields.finish()
            adapter.source = Self.resolve("./" + adapter.source, in: directory)
            models.append(adapter)
        }
        for (name, value) in try file.members("aliases") {
            guard let model = value.string else {
                throw .wrongType("aliases.\(name)", expected: "the name of a model", found: value)
            }
            routes.append((name, ModelRoute(alias: model)))
        }
        for (name, value) in try file.members("routes") {
            var fields = try RequestObject(value, path: "routes.\(name)")
            routes.append((name, try SpecificationFields.route(&fields)))
            try fields.finish()
        }
        try file.finish()
    }

    /// A path as one that this process can open, where it is one.
    private static func resolve(_ source: String, in directory: String) -> String {
        // What was made relative above may have been absolute
        let text = source.hasPrefix(".//") || source.hasPrefix("./~") ? String(source.dropFirst(2)) : source
        guard ["/", "./", "../", "~/"].contains(where: text.hasPrefix) else { return text }
        let path = (text as NSString).expandingTildeInPath
        guard !path.hasPrefix("/"), !directory.isEmpty else { return path }
        return ("\(directory)/\(path)" as NSString).standardizingPath
    }

    /// Aliases of aliases would fill any memory.
    private static let maximumValues = 100_000

    private static func json(of node: Node, _ source: String, _ room: inout Int) throws(MoruError) -> JSON {
        room -= 1
        guard room >= 0 else {
            throw MoruError(
                .serverConfiguration, "\(source) holds more than \(maximumValues) values, its aliases followed",
                remedy: "repeat less by aliases (&name and *name)")
        }
        switch node {
        case .mapping(let mapping):
            var object = JSONObject()
            for (key, value) in mapping { object[key.scalar?.string ?? ""] = try json(of: value, source, &room) }
            return .object(object)
        case .sequence(let items):
            var elements: [JSON] = []
            for item in items { elements.append(try json(of: item, source, &room)) }
            return .array(elements)
        case .scalar(let scalar):
            guard scalar.style == .plain || scalar.style == .any else { return .string(scalar.string) }
            if node.null != nil { return .null }
            if let bool = node.bool { return .bool(bool) }
            if let int = node.int { return .int(int) }
            if let double = node.float { return .double(double) }
            return .string(scalar.string)
        case .alias: return .null
        }
    }

    /// The line of a key, such as `models[0].source`, or of the nearest above it.
    private static func line(of key: String, in root: Node) -> Int? {
        var (node, line) = (root, root.mark?.line)
        for part in key.split(whereSeparator: { ".[]".contains($0) }) {
            if let pair = node.mapping?.first(where: { $0.key.scalar?.string == String(part) }) {
                (node, line) = (pair.value, pair.key.mark?.line)
            } else if let place = Int(part), let items = node.sequence, items.indices.contains(place) {
                (node, line) = (items[place], items[place].mark?.line)
            } else {
                break
            }
        }
        return line
    }

    // MARK: - Saving

    /// Writes routes into a file, in place of those that it has; the rest of the file stays as it is.
    ///
    /// - Parameter others: Models that are served besides those of the file.
    /// - Throws: ``MoruError/Code/serverConfiguration``, also for a route to a model that is neither in the file nor among
    ///   the others, or what reading and writing throw.
    static func save(
        _ routes: [(name: String, route: ModelRoute)], to path: String, besides others: [String] = []
    ) throws(MoruError) {
        let text = replacingRoutes(in: try FileSystem.readText(path), with: routes)
        let written = try ServeFile(yaml: text, source: path)
        // Aliases come before routes in a file
        func sorted(_ routes: [(name: String, route: ModelRoute)]) -> [String] {
            routes.map { "\($0.name)\n\($0.route.json.text())" }.sorted()
        }
        guard sorted(written.routes) == sorted(routes) else {
            throw MoruError(
                .serverConfiguration, "\(path): its keys aliases and routes could not be found",
                remedy: "write each on a line of its own, without quotes")
        }
        let known = Set(written.models.map(\.name) + others)
        for (name, route) in routes {
            guard let other = route.shares.first(where: { !known.contains($0.model) })?.model else { continue }
            throw MoruError(
                .serverConfiguration,
                "\(path) does not list '\(other)', to which '\(name)' leads; a server would not start with it",
                remedy: "add '\(other)' to its models or adapters, or remove the route; nothing was saved")
        }
        do {
            try FileSystem.write(text.utf8, to: path)
        } catch {
            throw error as? MoruError ?? MoruError(.fileUnwritable, "\(path) could not be written", cause: error)
        }
    }

    static func replacingRoutes(in text: String, with routes: [(name: String, route: ModelRoute)]) -> String {
        var kept: [Substring] = []
        var place: Int?
        var isInside = false
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if let first = line.first, !" \t#-".contains(first) {
                isInside = ["aliases:", "routes:"].contains(where: line.hasPrefix)
                if isInside, place == nil { place = kept.count }
            }
            // A comment in the first column belongs to what follows
            if !isInside || line.hasPrefix("#") { kept.append(line) }
        }
        let isAlias = { (route: ModelRoute) in route.shares.count == 1 && !route.isSticky && route.shares[0].weight == 1
        }
        func quoted(_ name: String) -> String { JSON.string(name).text() }
        var lines: [String] = []
        let (aliases, others) = (routes.filter { isAlias($0.route) }, routes.filter { !isAlias($0.route) })
        if !aliases.isEmpty { lines.append("aliases:") }
        for (name, route) in aliases { lines.append("  \(quoted(name)): \(quoted(route.shares[0].model))") }
        if !others.isEmpty { lines.append("routes:") }
        for (name, route) in others {
            let shares = route.shares.map { "\(quoted($0.model)): \(JSON.double($0.weight).text())" }
            lines.append("  \(quoted(name)):")
            lines.append("    models: {\(shares.joined(separator: ", "))}")
            if route.isSticky { lines.append("    sticky: true") }
        }
        if place == nil, kept.last == "" { kept.removeLast() }
        kept.insert(contentsOf: lines.map { Substring($0) }, at: place ?? kept.count)
        let joined = kept.joined(separator: "\n")
        return joined.hasSuffix("\n") ? joined : joined + "\n"
    }
}

extension RequestObject {
    /// A string that must be there.
    fileprivate mutating func text(_ key: String) throws(APIError) -> String {
        guard let text = try string(key) else { throw .missing(name(of: key)) }
        return text
    }

    /// The elements of an array; none where it is absent.
    fileprivate mutating func array(_ key: String) throws(APIError) -> [JSON] {
        guard let value = value(key) else { return [] }
        guard let elements = value.array else {
            throw .wrongType(name(of: key), expected: "a list", found: value)
        }
        return elements
    }

    /// The members of an object; none where it is absent.
    fileprivate mutating func members(_ key: String) throws(APIError) -> [(key: String, value: JSON)] {
        guard let value = value(key) else { return [] }
        guard let object = value.object else {
            throw .wrongType(name(of: key), expected: "names with values", found: value)
        }
        return Array(object.members)
    }
}
