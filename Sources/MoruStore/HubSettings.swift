import Foundation
import MoruBase

/// How long the hub client waits, and how often it tries.
public struct HubPatience: Sendable {
    /// How long a connection may take to be made.
    public var connectTimeout: Duration
    /// How long the server may be silent.
    public var idleTimeout: Duration
    /// How often to try to connect.
    public var connectAttempts: Int
    /// How often to try a request that the server dropped or put off; received bytes start the count anew.
    public var attempts: Int
    /// The first pause between attempts; each further one is twice as long.
    public var firstPause: Duration
    /// The longest pause, also when the server asks for a longer one.
    public var longestPause: Duration

    /// For a pull that has nowhere else to go.
    public static let patient = HubPatience(
        connectTimeout: .seconds(15), idleTimeout: .seconds(60), connectAttempts: 3, attempts: 6,
        firstPause: .milliseconds(500), longestPause: .seconds(120))

    /// For a pull that has another source to turn to.
    public static let brief = HubPatience(
        connectTimeout: .seconds(5), idleTimeout: .seconds(20), connectAttempts: 1, attempts: 3,
        firstPause: .milliseconds(500), longestPause: .seconds(10))
}

/// Where the hub is and who asks.
public struct HubSettings: Sendable {
    /// The hub's address, without a slash at the end.
    public var endpoint: String
    /// The access token.
    public var token: String?
    /// Where the token came from, for messages.
    public var tokenOrigin: String?
    /// A proxy for requests to the hub, as a URL.
    public var proxy: String?
    /// Whether the environment forbids to use the hub.
    public var offline: Bool

    /// Settings for an address and a token.
    public init(endpoint: String, token: String? = nil) {
        self.endpoint = endpoint
        self.token = token
        tokenOrigin = token == nil ? nil : "the caller"
        offline = false
    }

    /// Settings as the Hugging Face tools take them from the environment: `HF_ENDPOINT`; `HF_TOKEN`,
    /// `HUGGING_FACE_HUB_TOKEN` or the file that `huggingface-cli login` writes; `HF_HUB_OFFLINE`; `HTTPS_PROXY` or
    /// `HTTP_PROXY`, and `NO_PROXY`.
    ///
    /// - Throws: ``MoruError/Code/hubAddressInvalid`` when `HF_ENDPOINT` is no HTTP address.
    public init(environment: [String: String]) throws(MoruError) {
        func value(_ names: String...) -> String? {
            names.lazy.compactMap { environment[$0]?.trimmingCharacters(in: .whitespacesAndNewlines) }
                .first { !$0.isEmpty }
        }
        var endpoint = value("HF_ENDPOINT") ?? "https://huggingface.co"
        while endpoint.hasSuffix("/") { endpoint.removeLast() }
        guard let url = URL(string: endpoint), let scheme = url.scheme?.lowercased(), let host = url.host,
            ["http", "https"].contains(scheme)
        else {
            throw MoruError(
                .hubAddressInvalid, "HF_ENDPOINT is '\(endpoint)', which is not an HTTP address",
                remedy: "set it to an address such as https://hub.example.org, or unset it")
        }
        self.endpoint = endpoint
        offline = ["1", "true", "yes", "on"].contains(value("HF_HUB_OFFLINE")?.lowercased() ?? "")
        if let token = value("HF_TOKEN") {
            (self.token, tokenOrigin) = (token, "HF_TOKEN")
        } else if let token = value("HUGGING_FACE_HUB_TOKEN") {
            (self.token, tokenOrigin) = (token, "HUGGING_FACE_HUB_TOKEN")
        } else {
            let home = HuggingFaceCache.home(environment: environment)
            let path = value("HF_TOKEN_PATH") ?? "\(home)/token"
            let text = (try? FileSystem.readText(path))?.trimmingCharacters(in: .whitespacesAndNewlines)
            if let text, !text.isEmpty { (token, tokenOrigin) = (text, path) }
        }
        if let token, token.utf8.contains(where: { $0 <= 0x20 || $0 >= 0x7F }) {
            throw MoruError(
                .hubAccessDenied, "the token from \(tokenOrigin ?? "the environment") holds spaces or other odd bytes",
                remedy: "copy the token again; it is one word that starts with hf_")
        }
        let exempt = (value("NO_PROXY", "no_proxy") ?? "").split(separator: ",").map {
            $0.trimmingCharacters(in: .whitespaces).lowercased()
        }
        let isExempt = exempt.contains { suffix in
            let bare = suffix.hasPrefix(".") ? String(suffix.dropFirst()) : suffix
            return suffix == "*" || host.lowercased() == bare || host.lowercased().hasSuffix("." + bare)
        }
        if !isExempt {
            proxy = scheme == "https" ? value("HTTPS_PROXY", "https_proxy") : value("HTTP_PROXY", "http_proxy")
            proxy = proxy ?? value("ALL_PROXY", "all_proxy")
        }
    }
}

/// Where the Hugging Face tools keep their files.
enum HuggingFaceCache {
    /// `$HF_HOME`, else `$XDG_CACHE_HOME/huggingface`, else `~/.cache/huggingface`.
    static func home(environment: [String: String]) -> String {
        if let home = environment["HF_HOME"], !home.isEmpty { return home }
        if let cache = environment["XDG_CACHE_HOME"], !cache.isEmpty { return "\(cache)/huggingface" }
        return "\(environment["HOME"] ?? NSHomeDirectory())/.cache/huggingface"
    }

    /// The folder of a repository: `models--ORG--REPO`.
    static func folder(repository: String, environment: [String: String]) -> String {
        let variables = ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"]
        let hub = variables.lazy.compactMap { environment[$0] }.first { !$0.isEmpty }
        let base = hub ?? "\(home(environment: environment))/hub"
        return "\(base)/models--" + repository.replacingOccurrences(of: "/", with: "--")
    }
}
