import Foundation
import MoruBase

/// A model in the store: a directory with a manifest, `moru.json`, that says where it came from.
public struct StoredModel: Sendable {
    /// The name of the manifest inside a model's directory.
    public static let manifestName = "moru.json"

    /// The name, which is the name of the directory.
    public var name: String
    /// The model's directory.
    public var directory: String
    /// The files, their names relative to the directory. Empty where there is no manifest.
    public var files: [CatalogFile]
    /// The size of the files in bytes.
    public var size: Int
    /// What was asked for: a catalogued name or `hf:ORG/REPO@REVISION`.
    public var reference: String?
    /// Where the files came from, in words.
    public var source: String?
    /// The commit of the hub's repository, where the files came from there.
    public var commit: String?
    /// The licence, as far as it is known.
    public var license: String?
    /// The architecture, as far as it is known.
    public var architecture: String?
    /// When it was pulled; nil for a directory that was put there by hand.
    public var pulledAt: Date?
    /// What is wrong with it, if anything: files that are missing, or a manifest that cannot be read.
    public var problem: String?

    /// The path to give to whoever loads the model: the `.gguf` file where that is the model, else the directory.
    public var path: String {
        let weights = files.filter { $0.name.hasSuffix(".gguf") || $0.name.hasSuffix(".safetensors") }
        if weights.count == 1, let only = weights.first, only.name.hasSuffix(".gguf") {
            return "\(directory)/\(only.name)"
        }
        return directory
    }

    /// Whether every file is there with its size. The hashes were checked when the model was pulled.
    var damage: String? {
        for file in files {
            let size = FileSize.of("\(directory)/\(file.name)")
            if size == nil { return "\(file.name) is missing" }
            if let size, size != file.size { return "\(file.name) has \(size) bytes instead of \(file.size)" }
        }
        return nil
    }
}

extension StoredModel {
    private static let format = "moru-model"

    /// The manifest's content.
    var manifest: JSON {
        var object = JSONObject([("format", .string(Self.format)), ("version", 1), ("name", .string(name))])
        let optional = [
            ("reference", reference), ("source", source), ("commit", commit), ("license", license),
            ("architecture", architecture), ("pulled_at", pulledAt.map { $0.formatted(.iso8601) }),
        ]
        for (key, value) in optional { object[key] = value.map(JSON.string) }
        object["files"] = .array(
            files.map { ["name": .string($0.name), "size": .int($0.size), "sha256": .string($0.sha256)] })
        return .object(object)
    }

    /// Reads a model's directory.
    ///
    /// - Returns: nil when the directory has no manifest.
    /// - Throws: ``MoruError/Code/modelManifestMalformed``.
    static func read(directory: String, name: String) throws(MoruError) -> StoredModel? {
        let path = "\(directory)/\(manifestName)"
        guard FileSystem.exists(path) else { return nil }
        func malformed(_ what: String, cause: MoruError? = nil) -> MoruError {
            MoruError(
                .modelManifestMalformed, "\(path): \(what)",
                remedy: "pull the model anew: moru pull --force \(name)", cause: cause)
        }
        let json: JSON
        do throws(MoruError) { json = try JSON.parse(file: path) } catch {
            throw malformed("the manifest cannot be read", cause: error)
        }
        guard json["format"]?.string == format else { throw malformed("'format' is not \"\(format)\"") }
        guard json["version"]?.int == 1 else { throw malformed("'version' is not 1") }
        guard let entries = json["files"]?.array, !entries.isEmpty else { throw malformed("'files' lists nothing") }
        var files: [CatalogFile] = []
        var total = 0
        for entry in entries {
            guard let name = entry["name"]?.string, SafeFileName.problem(with: name) == nil,
                let size = entry["size"]?.int, size >= 0, size <= FileSize.maximum, let hash = entry["sha256"]?.string
            else { throw malformed("an entry of 'files' has no usable name, size and sha256") }
            files.append(CatalogFile(name: name, size: size, sha256: hash))
            total += size
        }
        return StoredModel(
            name: name, directory: directory, files: files, size: total, reference: json["reference"]?.string,
            source: json["source"]?.string, commit: json["commit"]?.string, license: json["license"]?.string,
            architecture: json["architecture"]?.string,
            pulledAt: (json["pulled_at"]?.string).flatMap { try? Date($0, strategy: .iso8601) })
    }
}

extension FileSize {
    /// More than any file of a model has; a larger size in a listing is refused.
    static let maximum = 1 << 44
}
