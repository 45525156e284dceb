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
        /// The model that commands use where none is named.
        case model
        /// The address that the server listens on.
        case host
        /// The port that the server listens on.
        case port
        /// The key that clients of the server must present; empty for none.
        case apiKey = "api_key"
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
            case .home: "where models are kept"
            case .model: "the model where none is named"
            case .host: "the server's address"
            case .port: "the server's port"
            case .apiKey: "the key that the server's clients must present"
            case .threads: "threads that compute (environment only)"
            case .cpu: "a weaker instruction set: scalar, avx2, avx512... (environment only)"
            case .precision: "auto, or f32 for products without bf16 rounding (environment only)"
            }
        }

        /// Whether the process reads the setting before any file could be read.
        var isEnvironmentOnly: Bool { [.threads, .cpu, .precision].contains(self) }
    }

    /// Where a value comes from.
    public enum Origin: Sendable, Hashable, CustomStringConvertible {
        /// Built in.
        case standard
        /// A line of the configuration file.
        case file(String)
        /// An environment variable.
        case environment(String)

        /// Where it comes from, for people.
        public var description: String {
            switch self {
            case .standard: "default"
            case .file(let path): path
            case .environment(let name): name
            }
        }
    }

    /// A setting's value.
    public struct Value: Sendable, Hashable {
        /// The setting.
        public let key: Key
        /// Its value as text; the API key is never shown whole.
        public let value: String
        /// Where it comes from.
        public let origin: Origin
    }

    /// Every setting, in a fixed order, as it may be shown.
    public var values: [Value] {
        Key.allCases.map { key in
            let (value, origin) = resolved[key] ?? ("", .standard)
            let shown = key == .apiKey && !value.isEmpty ? String(value.prefix(3)) + "..." : value
            return Value(key: key, value: shown, origin: origin)
        }
    }

    /// The value of a setting; empty where it has none.
    public func value(_ key: Key) -> String { resolved[key]?.0 ?? "" }

    /// The server's port.
    public var port: Int { Int(value(.port)) ?? Self.standardPort }

    private static let standardPort = 8080
    private var resolved: [Key: (String, Origin)]

    /// Reads the configuration file, if there is one, and the environment.
    ///
    /// - Throws: ``MoruError/Code/settingInvalid``, naming the file or variable, and the nearest right key.
    public static func load(
        environment: [String: String] = ProcessInfo.processInfo.environment
    ) throws(MoruError) -> Settings {
        var resolved: [Key: (String, Origin)] = [
            .home: (ModelStore.defaultRoot, .standard), .model: (Catalog.defaultModel, .standard),
            .host: ("127.0.0.1", .standard), .port: (String(standardPort), .standard),
            .precision: ("auto", .standard),
        ]
        let path = environment["MORU_CONFIG"] ?? (environment["HOME"] ?? "") + "/.config/moru/config.yaml"
        if FileSystem.exists(path) {
            for (key, value) in try read(path) { resolved[key] = (value, .file(path)) }
        } else if environment["MORU_CONFIG"] != nil {
            throw MoruError(.fileNotFound, "\(path), which MORU_CONFIG names, does not exist")
        }
        for key in Key.allCases {
            if let value = environment[key.variable], !value.isEmpty {
                resolved[key] = (value, .environment(key.variable))
            }
        }
        if let (value, origin) = resolved[.port], Int(value).map({ 0...65535 ~= $0 }) != true {
            throw MoruError(.settingInvalid, "port \"\(value)\" (\(origin)) is no port", remedy: "use 0 to 65535")
        }
        return Settings(resolved: resolved)
    }

    private static func read(_ path: String) throws(MoruError) -> [(Key, String)] {
        let text = try FileSystem.readText(path)
        let node: Node?
        do {
            node = try Yams.compose(yaml: text)
        } catch {
            throw MoruError(.settingInvalid, "\(path) is not YAML", cause: error)
        }
        guard let node, node != Node("") else { return [] }
        guard let mapping = node.mapping else {
            throw MoruError(.settingInvalid, "\(path): settings must be lines of \"key: value\"")
        }
        var result: [(Key, String)] = []
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
            guard let value = valueNode.scalar?.string else {
                throw MoruError(.settingInvalid, "\(place): \(name) must be a single value")
            }
            result.append((key, value))
        }
        return result
    }
}
