import Foundation

/// Sizes of files on disk.
package enum FileSize {
    /// The size of a regular file in bytes, or nil if there is none at `path`.
    package static func of(_ path: String) -> Int? {
        var info = stat()
        guard stat(path, &info) == 0, info.st_mode & S_IFMT == S_IFREG else { return nil }
        return Int(info.st_size)
    }

    /// The sizes of all regular files below `directory`, in bytes.
    package static func ofTree(_ directory: String) -> Int {
        guard let walker = FileManager.default.enumerator(atPath: directory) else { return 0 }
        var total = 0
        for case let name as String in walker { total += of("\(directory)/\(name)") ?? 0 }
        return total
    }
}
