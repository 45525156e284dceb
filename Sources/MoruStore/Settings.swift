import Foundation
import MoruBase
import Yams

extension MoruError.Code {
    /// A configuration file or environment variable that cannot be used.
    public static let settingInvalid = MoruError.Code("settings.invalid", .invalidInput)
}

/// What a user may set once for every command. A flag wins over the environment, the environment over the file, the
/// file over the default.
public struct Settings: Sendable {
    /// A setting.
    public enum Key: String, Sendable, CaseIterable {
        /// Where models are kept.
        case home
        /// The address that the server listens on.
        case host
        /// The port that the server listens on.
        case port
        /// The key that clients of the server must present; empty for none.
        case apiKey = "api_key"
        /// The key that changing what a server serves asks for; empty for the API key.
        case adminKey = "admin_key"
        /// Threads that compute.
        case threads
        /// The instruction set, weaker than the best.
        case cpu
        /// The precision of matrix products.
        case precision

        /// The environment variable of the setting.
        public var variable: String { "MORU_" + rawValue.uppercased() }

        /// What the setting is, for people.
        public var summary: String {
            switch self {
            case .home: "where models are kept (environment only)"
            case .host: "the server's address"
            case .port: "the server's port"
            case .apiKey: "the key that the server's clients must present"
            case .adminKey: "the key required for changing what a server serves"
            case .threads: "threads that compute (environment only)"
            case .cpu: "a weaker instruction set: scalar, avx2, avx512... (environment only)"
            case .precision: "how far products may round: auto, f32, bf16 or int8 (environment only)"
            }
        }

        /// Whether the setting is read straight from the environment, so that one in the file would have no effect.
        var isEnvironmentOnly: Bool { [.home, .threads, .cpu, .precision].contains(self) }
    }

    /// Where a value comes from.
    public enum Origin: Sendable, Hashable, CustomStringConvertible {
        /// Built in.
        case standard
        /// A line of the configuration file: `path:line`.
        case file(String)
        /// An environment variable.
        case environment(String)

        /// Where it comes from, for people.
        public var description: String {
            switch self {
            case .standard: "default"
            case .file(let place): place
            case .environment(let name): name
            }
        }
    }

    /// A setting's value.
    public struct Value: Sendable, Hashable {
        /// The setting.
        public let key: Key
        /// Its value as text; keys are never shown whole.
        public let value: String
        /// Where it comes from.
        public let origin: Origin
    }

    /// Every setting, in a fixed order, as it may be shown.
    public var values: [Value] {
        Key.allCases.map { key in
            let (value, origin) = resolved[key] ?? ("", .standard)
            return Value(
                key: key, value: [.apiKey, .adminKey].contains(key) ? Self.masked(value) : value, origin: origin)
        }
    }

    /// What of a secret may be shown: its beginning, and nothing of a short one.
    private static func masked(_ secret: String) -> String {
        secret.isEmpty ? "" : (secret.count < 12 ? "" : String(secret.prefix(3))) + "..."
    }

    /// The value of a setting; empty where it has none.
    public func value(_ key: Key) -> String { resolved[key]?.0 ?? "" }

    /// The server's port.
    public var port: Int { Int(value(.port)) ?? Self.standardPort }

    private static let standardPort = 8080
    private var resolved: [Key: (String, Origin)]

    /// Reads the configuration file, if there is one, and the environment.
    ///
    /// - Parameter environment: The variables. `MORU_CONFIG` names the file, by default `~/.config/moru/config.yaml`; an
    ///   empty variable counts as none.
    /// - Throws: ``MoruError/Code/settingInvalid``, naming the file and line or the variable, and the nearest right key;
    ///   ``MoruError/Code/fileNotFound`` when `MORU_CONFIG` names a file that is not there.
    public static func load(
        environment: [String: String] = ProcessInfo.processInfo.environment
    ) throws(MoruError) -> Settings {
        var resolved: [Key: (String, Origin)] = [
            .home: (ModelStore.defaultRoot(in: environment), .standard), .host: ("127.0.0.1", .standard),
            .port: (String(standardPort), .standard), .precision: ("auto", .standard),
        ]
        let named = environment["MORU_CONFIG"].flatMap { $0.isEmpty ? nil : $0 }
        let path = named ?? "\(environment["HOME"] ?? NSHomeDirectory())/.config/moru/config.yaml"
        if FileSystem.exists(path) {
            for (key, value, place) in try read(path) { resolved[key] = (value, .file(place)) }
        } else if named != nil {
            throw MoruError(
                .fileNotFound, "\(path), which MORU_CONFIG names, does not exist",
                remedy: "name a file that exists, or unset MORU_CONFIG")
        }
        for key in Key.allCases {
            if let value = environment[key.variable], !value.isEmpty {
                resolved[key] = (value, .environment(key.variable))
            }
        }
        if let (value, origin) = resolved[.port], Int(value).map({ 0...65535 ~= $0 }) != true {
            throw MoruError(.settingInvalid, "\(origin): \"\(value)\" is not a port", remedy: "use 0 to 65535")
        }
        if let (value, origin) = resolved[.host], value.isEmpty {
            throw MoruError(
                .settingInvalid, "\(origin): the host is empty", remedy: "name an address, such as 127.0.0.1 or 0.0.0.0"
            )
        }
        return Settings(resolved: resolved)
    }

    /// The settings of a file, each with its `path:line`.
    private static func read(_ path: String) throws(MoruError) -> [(Key, String, String)] {
        let text = try FileSystem.readText(path)
        let node: Node?
        do {
            node = try Yams.compose(yaml: text)
        } catch {
            throw malformed(path, error)
        }
        guard let node, node.null == nil else { return [] }
        guard let mapping = node.mapping else {
            throw MoruError(
                .settingInvalid, "\(path):\(node.mark?.line ?? 1): this is not a setting",
                remedy: "write lines of \"key: value\", such as \"port: 8080\"")
        }
        var result: [(Key, String, String)] = []
        for (keyNode, valueNode) in mapping {
            let name = keyNode.string ?? ""
            let place = "\(path):\(keyNode.mark?.line ?? 0)"
            guard let key = Key(rawValue: name) else {
                let known = Key.allCases.map(\.rawValue)
                let nearest = nearestName(to: name, among: known).map { "did you mean \($0)? " } ?? ""
                throw MoruError(
                    .settingInvalid, "\(place): the setting \"\(name)\" is unknown",
                    remedy: nearest + "settings are \(known.joined(separator: ", "))")
            }
            guard !key.isEnvironmentOnly else {
                throw MoruError(
                    .settingInvalid, "\(place): \(name) can only be set in the environment",
                    remedy: "set \(key.variable) instead")
            }
            // A key without a value leaves the setting as it is
            guard valueNode.null == nil else { continue }
            guard let value = valueNode.scalar?.string else {
                throw MoruError(
                    .settingInvalid, "\(place): \(name) has several values", remedy: "give one, as \(name): VALUE")
            }
            result.append((key, value, place))
        }
        return result
    }

    /// What YAML that cannot be read is refused with.
    private static func malformed(_ path: String, _ error: any Error) -> MoruError {
        let remedy = "write lines of \"key: value\""
        switch error as? YamlError {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            return MoruError(.settingInvalid, "\(path):\(mark.line): \(problem)", remedy: remedy)
        case .duplicatedKeysInMapping(let keys, _):
            return MoruError(
                .settingInvalid, "\(path): \(keys.joined(separator: ", ")) is set twice", remedy: "keep one of them")
        default:
            return MoruError(.settingInvalid, "\(path) is not valid YAML", remedy: remedy, cause: error)
        }
    }
}
