import MoruBase

/// A file of a hub repository.
public struct HubFile: Sendable, Hashable {
    /// The path inside the repository.
    public let name: String
    /// The size in bytes, where the hub says it.
    public let size: Int?
    /// The SHA-256 of the content, for files in large-file storage.
    public let sha256: String?
    /// The SHA-1 of the git blob, for other files.
    public let blobID: String?

    /// Describes a file.
    public init(name: String, size: Int? = nil, sha256: String? = nil, blobID: String? = nil) {
        self.name = name
        self.size = size
        self.sha256 = sha256
        self.blobID = blobID
    }

    var expected: FileHash.Expected {
        if let sha256 { return .sha256(sha256) }
        if let blobID { return .gitBlob(blobID) }
        return .unknown
    }
}

/// What the hub says about a model repository at one revision: the answer to
/// `GET /api/models/{repository}/revision/{revision}?blobs=true`.
public struct HubModelInfo: Sendable {
    /// The repository, as the hub spells it.
    public let repository: String
    /// The commit that the revision stands for.
    public let commit: String
    /// The licence from the model card, if it names one.
    public let license: String?
    /// The model type from `config.json`, such as `llama`.
    public let modelType: String?
    /// Whether access has to be asked for.
    public let gated: Bool
    /// The files.
    public let files: [HubFile]

    /// Reads the hub's answer.
    ///
    /// - Throws: ``MoruError/Code/hubResponseMalformed``, or ``MoruError/Code/hubFileNameUnsafe`` when a file would be
    ///   written outside the model's directory.
    public init(json: JSON, source: String) throws(MoruError) {
        func malformed(_ what: String) -> MoruError {
            MoruError(.hubResponseMalformed, "\(source): \(what)", remedy: "check HF_ENDPOINT, or try again later")
        }
        guard let repository = json["id"]?.string ?? json["modelId"]?.string else { throw malformed("no 'id'") }
        guard let commit = json["sha"]?.string, Self.isHexadecimal(commit, count: 40) else {
            throw malformed("'sha' is not a commit")
        }
        guard let siblings = json["siblings"]?.array else { throw malformed("no 'siblings'") }
        self.repository = repository
        self.commit = commit
        var license = json["cardData"]?["license"]?.string
        for tag in json["tags"]?.array ?? [] where license == nil {
            if let text = tag.string, text.hasPrefix("license:") { license = String(text.dropFirst(8)) }
        }
        self.license = license
        modelType = json["config"]?["model_type"]?.string ?? json["gguf"]?["architecture"]?.string
        gated = (json["gated"].map { $0.string != nil || $0.bool == true }) ?? false
        var seen: Set<String> = []
        var files: [HubFile] = []
        var total = 0
        for sibling in siblings {
            let file = try Self.file(sibling, repository: repository, malformed: malformed)
            guard seen.insert(file.name).inserted else { throw malformed("'\(file.name)' is listed twice") }
            total += file.size ?? 0
            guard total <= FileSize.maximum else {
                throw malformed("the files are larger than \(FileSize.maximum) bytes")
            }
            files.append(file)
        }
        self.files = files
    }

    private static func file(
        _ sibling: JSON, repository: String, malformed: (String) -> MoruError
    ) throws(MoruError) -> HubFile {
        guard let name = sibling["rfilename"]?.string else { throw malformed("a file without 'rfilename'") }
        if let problem = SafeFileName.problem(with: name) {
            throw MoruError(
                .hubFileNameUnsafe, "\(repository) lists a file called \(JSON.string(name).text()): \(problem)",
                remedy: "do not use this repository")
        }
        let large = sibling["lfs"]
        var size: Int?
        for value in [sibling["size"], large?["size"]].compactMap({ $0 }) {
            guard let bytes = value.int, bytes >= 0, bytes <= FileSize.maximum else {
                throw malformed("'\(name)' has the impossible size \(value.text())")
            }
            if let size, size != bytes { throw malformed("'\(name)' has two sizes, \(size) and \(bytes)") }
            size = bytes
        }
        let sha256 = large?["sha256"]?.string ?? large?["oid"]?.string
        if let sha256, !isHexadecimal(sha256, count: 64) { throw malformed("'\(name)' has no usable sha256") }
        if large != nil, sha256 == nil { throw malformed("'\(name)' is a large file without sha256") }
        let blob = large == nil ? sibling["blobId"]?.string : nil
        if let blob, !isHexadecimal(blob, count: 40) { throw malformed("'\(name)' has no usable blobId") }
        return HubFile(name: name, size: size, sha256: sha256?.lowercased(), blobID: blob?.lowercased())
    }

    private static func isHexadecimal(_ text: String, count: Int) -> Bool {
        text.utf8.count == count && text.allSatisfy(\.isHexDigit)
    }
}
