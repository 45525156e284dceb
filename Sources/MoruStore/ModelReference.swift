import Foundation
import MoruBase

/// How a user names a model: by a catalogued or stored name, as a repository of the hub, or by a path.
public struct ModelReference: Sendable, Hashable, CustomStringConvertible {
    /// The three kinds of reference.
    public enum Kind: Sendable, Hashable {
        /// A name from the catalog, or of a model in the store.
        case name(String)
        /// A repository of the hub, with one file of it or (without) all that belong to a model.
        case hub(repository: String, revision: String, file: String?)
        /// A directory in Hugging Face layout, or a `.gguf` file.
        case path(String)
    }

    /// What is referred to.
    public let kind: Kind

    /// Refers to a model.
    public init(_ kind: Kind) { self.kind = kind }

    /// Reads a reference: `smollm2-135m-instruct` (in any case), `hf:ORG/REPO`, `hf:ORG/REPO@REVISION`,
    /// `hf:ORG/REPO@REVISION:FILE.gguf`, or a path to a directory or a `.gguf` file.
    ///
    /// - Throws: ``MoruError/Code/modelReferenceMalformed``, or ``MoruError/Code/fileNotFound`` for a path at which
    ///   nothing lies.
    public init(parsing text: String) throws(MoruError) {
        let trimmed = text.trimmingCharacters(in: .whitespaces)
        guard !trimmed.isEmpty else {
            throw MoruError(
                .modelReferenceMalformed, "the model's name is empty", remedy: "for example: \(Catalog.defaultModel)")
        }
        if trimmed.lowercased().hasPrefix("hf:") {
            self.init(try Self.hubKind(trimmed))
            return
        }
        if Catalog.entry(named: trimmed) != nil {
            self.init(.name(trimmed))
            return
        }
        let path = trimmed.hasPrefix("~/") ? NSHomeDirectory() + trimmed.dropFirst() : trimmed
        let looksLikePath = path.contains("/") || path.hasSuffix(".gguf") || path == "." || path == ".."
        guard looksLikePath || FileSystem.exists(path) else {
            self.init(.name(trimmed))
            return
        }
        guard FileSystem.exists(path) else {
            var remedy = "check the path"
            if trimmed.contains("/"), Self.isRepository(trimmed) {
                remedy += ", or write hf:\(trimmed) for the hub's repository"
            }
            throw MoruError(.fileNotFound, "\(path) does not exist", remedy: remedy)
        }
        self.init(.path(path))
    }

    /// The reference as it would be typed.
    public var description: String {
        switch kind {
        case .name(let name): name
        case .path(let path): path
        case .hub(let repository, let revision, let file):
            "hf:\(repository)" + (revision == "main" ? "" : "@\(revision)") + (file.map { ":\($0)" } ?? "")
        }
    }

    /// The name of the model's directory in the store; nil for a path, which is used where it lies.
    ///
    /// Two references have the same name only if they mean the same: `/` becomes `--` in a repository (as in the
    /// Hugging Face cache) and `%2F` elsewhere.
    public var storedName: String? {
        switch kind {
        case .name(let name): return Catalog.entry(named: name)?.name ?? name
        case .path: return nil
        case .hub(let repository, let revision, let file):
            var name = repository.replacingOccurrences(of: "/", with: "--")
            if revision != "main" { name += "@" + revision.replacingOccurrences(of: "/", with: "%2F") }
            if let file { name += "," + file.replacingOccurrences(of: "/", with: "%2F") }
            return name
        }
    }

    private static func hubKind(_ text: String) throws(MoruError) -> Kind {
        let remedy = "write hf:ORG/REPO, hf:ORG/REPO@REVISION or hf:ORG/REPO@REVISION:FILE.gguf"
        var rest = Substring(text).dropFirst(3)
        var file: String?
        if let colon = rest.firstIndex(of: ":") {
            file = String(rest[rest.index(after: colon)...])
            rest = rest[..<colon]
        }
        var revision = "main"
        if let at = rest.firstIndex(of: "@") {
            revision = String(rest[rest.index(after: at)...])
            rest = rest[..<at]
        }
        guard isRepository(String(rest)) else {
            throw MoruError(.modelReferenceMalformed, "'\(text)' names no repository of the hub", remedy: remedy)
        }
        guard isRevision(revision) else {
            throw MoruError(
                .modelReferenceMalformed, "'\(text)': '\(revision)' is not a branch, tag or commit", remedy: remedy)
        }
        if let file {
            guard SafeFileName.problem(with: file) == nil else {
                throw MoruError(.modelReferenceMalformed, "'\(text)': '\(file)' is not a file name", remedy: remedy)
            }
        }
        return .hub(repository: String(rest), revision: revision, file: file)
    }

    static func isRepository(_ text: String) -> Bool {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        return (1...2).contains(parts.count)
            && parts.allSatisfy { part in
                !part.isEmpty && part.count <= 96 && part.first != "." && part.first != "-" && !part.contains("..")
                    && part.utf8.allSatisfy(isWordByte)
            }
    }

    private static func isRevision(_ text: String) -> Bool {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        return text.utf8.count <= 128
            && parts.allSatisfy { part in
                !part.isEmpty && part.first != "." && part.first != "-" && !part.contains("..")
                    && part.utf8.allSatisfy { isWordByte($0) || $0 == UInt8(ascii: "+") }
            }
    }

    private static func isWordByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
            true
        default: false
        }
    }
}

/// What a file may be called inside a model's directory.
enum SafeFileName {
    /// Why `name` may not be written, or nil if it may: a relative path that stays inside its directory.
    static func problem(with name: String) -> String? {
        if name.isEmpty { return "an empty name" }
        if name.utf8.count > 1024 { return "a name of \(name.utf8.count) bytes" }
        if name.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F || $0 == UInt8(ascii: "\\") }) {
            return "control characters or backslashes"
        }
        for part in name.split(separator: "/", omittingEmptySubsequences: false) {
            if part.isEmpty { return "an absolute path or an empty folder name" }
            if part == "." || part == ".." { return "a path that leaves the directory" }
            if part.utf8.count > 255 { return "a name longer than 255 bytes" }
        }
        if name == StoredModel.manifestName || name.hasPrefix(".moru") { return "a name that Moru keeps for itself" }
        return nil
    }
}
