import Foundation
import MoruBase

/// Finds files that are on this machine already, so that nothing is downloaded twice.
struct PresentFiles {
    /// The environment, for `MORU_MODELS_PATH` and the Hugging Face cache.
    let environment: [String: String]
    /// The folder of the store's models.
    let models: String
    /// Further folders to look in.
    var extraFolders: [String] = []

    /// Paths at which `file` may lie, those that have its size; the hash is for the caller to check.
    ///
    /// - Parameter repository: The hub's repository that has the file, if it is known.
    func candidates(
        for file: HubFile, model: String, repository: String?, excluding destination: String
    ) -> [String] {
        let base = (file.name as NSString).lastPathComponent
        var paths: [String] = []
        let listed = (environment["MORU_MODELS_PATH"] ?? "").split(separator: ":").map(String.init)
        for folder in extraFolders + listed {
            paths += ["\(folder)/\(file.name)", "\(folder)/\(model)/\(file.name)", "\(folder)/\(base)"]
        }
        paths.append("\(models)/\(file.name)")
        // A file as generic as tokenizer.json is not looked for in other models' directories.
        if file.name.hasSuffix(".gguf") {
            for other in (try? FileSystem.list(models)) ?? [] { paths.append("\(models)/\(other)/\(base)") }
        }
        if let repository {
            let cache = HuggingFaceCache.folder(repository: repository, environment: environment)
            if let blob = file.sha256 ?? file.blobID { paths.append("\(cache)/blobs/\(blob)") }
            for snapshot in (try? FileSystem.list("\(cache)/snapshots")) ?? [] {
                paths.append("\(cache)/snapshots/\(snapshot)/\(file.name)")
            }
        }
        var seen: Set<String> = []
        return paths.filter { path in
            guard !path.hasPrefix(destination + "/"), seen.insert(path).inserted, let size = FileSize.of(path) else {
                return false
            }
            return size > 0 && size == file.size ?? size
        }
    }

    /// Copies a file; a link would let a later edit of the original change the model.
    static func copy(_ source: String, to target: String, progress: (Int) -> Void) throws(MoruError) {
        unlink(target)
        let input = open(source, O_RDONLY | O_CLOEXEC)
        guard input >= 0 else { throw FileSystem.error(reading: source, errno: errno) }
        defer { close(input) }
        var output = try PartialFile.open(target)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 64)
        defer { buffer.deallocate() }
        while true {
            let count = read(input, buffer.baseAddress, buffer.count)
            if count < 0 {
                if errno == EINTR { continue }
                throw FileSystem.error(reading: source, errno: errno)
            }
            if count == 0 { break }
            if Task.isCancelled { throw MoruError(.cancelled, "stopped while copying \(source)") }
            try output.append(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            progress(output.count)
        }
        try output.flush()
    }
}
