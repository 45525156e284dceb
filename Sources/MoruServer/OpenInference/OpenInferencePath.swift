import Foundation

/// What a path below `/v2/models/` asks for: `{name}[/versions/{version}][/{action}]`. A name may have slashes.
struct OpenInferencePath: Sendable, Hashable {
    /// What is to be done with a model.
    enum Action: String, Sendable, Hashable {
        case ready
        case infer
        case generate
        case generateStream = "generate_stream"
    }

    /// The model.
    var name: String
    /// The version asked for.
    var version: String?
    /// What is to be done; nil for the model's metadata.
    var action: Action?

    /// Reads a path.
    init(_ path: String) {
        var parts = path.dropFirst("/v2/models/".count).split(separator: "/", omittingEmptySubsequences: false)
        func popped() -> String {
            let part = parts.removeLast()
            return part.removingPercentEncoding ?? String(part)
        }
        if parts.count > 1, let action = parts.last.flatMap({ Action(rawValue: String($0)) }) {
            self.action = action
            parts.removeLast()
        }
        if parts.count > 2, parts[parts.count - 2] == "versions" {
            version = popped()
            parts.removeLast()
        }
        let rest = parts.joined(separator: "/")
        name = rest.removingPercentEncoding ?? rest
    }
}
