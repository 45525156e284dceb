import Foundation
import MoruBase

extension PretrainingRecipe {
    /// Reads a recipe file.
    ///
    /// - Parameters:
    ///   - path: The YAML file. Paths in it are relative to its directory; without `output`, the run is written to
    ///     `runs/NAME` beside it.
    ///   - overrides: `key=value` pairs such as `model.layers=2`, which win over the file. Paths in them are relative to
    ///     the working directory.
    /// - Throws: ``MoruError/Code/recipeMalformed``, ``MoruError/Code/recipeUnknownKey`` or
    ///   ``MoruError/Code/recipeValue``, naming file, line and key.
    public init(file path: String, overrides: [String] = []) throws(MoruError) {
        let name = ((path as NSString).lastPathComponent as NSString).deletingPathExtension
        let directory = (path as NSString).deletingLastPathComponent
        try self.init(
            yaml: try FileSystem.readText(path), source: path, directory: directory, name: name, overrides: overrides)
    }

    /// Reads a recipe; see ``init(file:overrides:)``.
    public init(
        yaml: String, source: String, directory: String = "", name: String = "model", overrides: [String] = []
    ) throws(MoruError) {
        let entries = try RecipeEntry.read(yaml, source: source, example: "data.train")
        var changes: [RecipeEntry] = []
        for override in overrides { changes.append(try RecipeEntry(override: override, example: "model.layers=2")) }
        // The size comes first, since it decides what the other settings begin with
        self.init(train: [], output: RecipeEntry.resolve("runs/\(name)", directory))
        for entry in entries + changes where entry.path == "size" {
            try apply(entry, directory: directory)
            training = Self.settings(size)
        }
        for entry in entries { try apply(entry, directory: directory) }
        for change in changes { try apply(change, directory: "") }
        if train.isEmpty {
            throw MoruError(
                .recipeValue, "\(source): the key data.train is missing", remedy: "name files, folders or patterns")
        }
    }

    /// Sets one key.
    private mutating func apply(_ entry: RecipeEntry, directory: String) throws(MoruError) {
        let value = entry.value
        if let key = PretrainingKey.all.first(where: { $0.path == entry.path }) {
            let resolved = key.isPath ? value.map { RecipeEntry.resolve($0, directory) } : value
            guard let resolved, key.set(&self, resolved) else { throw entry.unacceptable(for: key) }
        } else if let key = Self.trainingKeys.first(where: { $0.path == entry.path }) {
            guard let value, set(key, value) else { throw entry.unacceptable(for: key) }
        } else {
            throw entry.unknownKey(among: PretrainingKey.all.map(\.path) + Self.trainingKeys.map(\.path))
        }
    }
}
