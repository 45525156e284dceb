import Foundation
import MoruBase

/// A file of a source, and how it is read.
public struct DataFile: Sendable, Hashable {
    /// Where it lies.
    public let path: String
    /// Its format.
    public let format: DataFileFormat
}

/// The files that sources stand for.
public struct DataFiles: Sendable, Hashable {
    /// The files, sorted by path.
    public private(set) var files: [DataFile] = []
    /// Files of a folder whose names are not those of text, such as images.
    public private(set) var skipped: [String] = []

    private static let dataFormats: [String: DataFileFormat] = [
        "jsonl": .jsonl, "ndjson": .jsonl, "json": .json, "csv": .csv, "tsv": .tsv, "tab": .tsv,
    ]
    private static let textExtensions: Set<String> = [
        "txt", "text", "md", "markdown", "rst", "adoc", "org", "tex", "html", "htm", "xml", "yaml", "yml", "toml",
        "ini",
        "cfg", "sql", "srt", "vtt", "log", "c", "h", "cc", "cpp", "cxx", "hpp", "cs", "go", "java", "js", "jsx", "mjs",
        "kt", "kts", "lua", "m", "mm", "php", "pl", "pm", "py", "pyi", "r", "rb", "rs", "scala", "sh", "bash", "zsh",
        "swift", "ts", "tsx", "vue", "css", "scss", "ipynb", "jl", "hs", "ml", "ex", "exs", "erl", "clj", "dart",
        "zig", "nim", "f90", "f", "vb", "ps1", "bat", "cmake", "mk", "proto", "graphql", "tf",
    ]
    private static let textNames: Set<String> = [
        "README", "LICENSE", "COPYING", "NOTICE", "AUTHORS", "CHANGELOG", "Makefile", "Dockerfile", "Rakefile",
    ]

    /// Finds the files of a source.
    ///
    /// A folder's files are its texts, in all folders below it but hidden ones, or its data files (`.jsonl`, `.csv`,
    /// `.tsv`, `.json`) where it holds no texts.
    ///
    /// - Throws: ``MoruError/Code/fileNotFound``, ``MoruError/Code/dataEmpty``, ``MoruError/Code/dataAmbiguous`` or
    ///   ``MoruError/Code/dataUnsupported``.
    public init(_ source: DataSource) throws(MoruError) {
        let path = source.path
        if FileSystem.isDirectory(path) {
            try readFolder(path, as: source.format)
        } else if !FileSystem.exists(path), path.contains(where: { "*?[".contains($0) }) {
            for match in try Self.matches(of: path) where !FileSystem.isDirectory(match) {
                try add(match, source.format)
            }
            guard !files.isEmpty else {
                throw MoruError(.fileNotFound, "no file matches \(path)", remedy: "check the pattern")
            }
        } else {
            guard FileSystem.exists(path) else {
                throw MoruError(.fileNotFound, "\(path) does not exist", remedy: "check the path")
            }
            try add(path, source.format)
        }
    }

    private mutating func add(_ path: String, _ format: DataFileFormat?) throws(MoruError) {
        var format = format
        if format == nil { format = try Self.format(of: path) }
        files.append(DataFile(path: path, format: format ?? .text))
    }

    /// The format that a file's name and, for `.json`, its beginning tell.
    private static func format(of path: String) throws(MoruError) -> DataFileFormat {
        let (name, suffix) = nameAndExtension(path)
        if let format = dataFormats[suffix] {
            // Many a file of one object a line is called .json
            guard format == .json else { return format }
            return try JSONArrayReader.beginsWithObject(path) ? .jsonl : .json
        }
        if textExtensions.contains(suffix) || textNames.contains(name) { return .text }
        switch suffix {
        case "parquet", "arrow", "feather":
            let reader = suffix == "parquet" ? "read_parquet" : "read_feather"
            throw MoruError(
                .dataUnsupported, "\(path): \(suffix) files are not read here",
                remedy: "convert it: python3 -c \"import pandas; pandas.\(reader)('\(path)')"
                    + ".to_json('\(name).jsonl', orient='records', lines=True, force_ascii=False)\"")
        case "gz", "zst", "bz2", "xz", "zip":
            throw MoruError(.dataUnsupported, "\(path) is compressed", remedy: "unpack it first")
        default:
            throw MoruError(
                .dataUnsupported, "\(path): the file name does not tell the format",
                remedy: "call it .jsonl, .json, .csv, .tsv or .txt, or say which format it has")
        }
    }

    private mutating func readFolder(_ root: String, as format: DataFileFormat?) throws(MoruError) {
        let root = root.count > 1 && root.hasSuffix("/") ? String(root.dropLast()) : root
        var (texts, data, arrays, others): ([String], [String], [String], [String]) = ([], [], [], [])
        var pending = [root]
        // A link may lead back to a folder above it
        var seen: Set<String> = []
        while let folder = pending.popLast() {
            guard seen.insert(FileSystem.resolved(folder)).inserted else { continue }
            for name in try FileSystem.list(folder) where !name.hasPrefix(".") {
                let path = "\(folder)/\(name)"
                let (stem, suffix) = Self.nameAndExtension(path)
                if FileSystem.isDirectory(path) {
                    pending.append(path)
                } else if let known = Self.dataFormats[suffix] {
                    if known == .json { arrays.append(path) } else { data.append(path) }
                } else if Self.textExtensions.contains(suffix) || Self.textNames.contains(stem) {
                    texts.append(path)
                } else {
                    others.append(path)
                }
            }
        }
        // Among texts, as in the sources of a program, .json is settings rather than data
        if texts.isEmpty || format == .json { data += arrays } else { others += arrays }
        if let format {
            let isText = format == .text
            for path in (isText ? texts + data : data).sorted() where isText || Self.hasFormat(path, format) {
                files.append(DataFile(path: path, format: format))
            }
        } else if let text = texts.first, let file = data.first {
            throw MoruError(
                .dataAmbiguous, "\(root) holds both texts (\(text)) and data files (\(file))",
                remedy:
                    "name the files, as in '\(root)/*.\(Self.nameAndExtension(file).suffix)', or say which format to read"
            )
        } else {
            for path in (texts + data).sorted() { try add(path, nil) }
        }
        skipped = others.sorted()
        guard !files.isEmpty else {
            let unread = others.first.map { "; \($0) and such are not read here" } ?? ""
            throw MoruError(
                .dataEmpty, "\(root) holds no texts and no data files\(unread)",
                remedy: "give a folder with .txt, .md, .jsonl or .csv files")
        }
    }

    private static func hasFormat(_ path: String, _ format: DataFileFormat) -> Bool {
        dataFormats[nameAndExtension(path).suffix] == format
    }

    private static func nameAndExtension(_ path: String) -> (name: String, suffix: String) {
        let name = (path as NSString).lastPathComponent as NSString
        return (name.deletingPathExtension, name.pathExtension.lowercased())
    }

    private static func matches(of pattern: String) throws(MoruError) -> [String] {
        var found = glob_t()
        defer { globfree(&found) }
        let flags = GLOB_NOSORT | GLOB_TILDE
        guard glob(pattern, flags, nil, &found) == 0 else { return [] }
        return (0..<Int(found.gl_pathc)).compactMap { found.gl_pathv[$0].map { String(cString: $0) } }.sorted()
    }
}
