import MoruBase

// Vectors whose beginnings are vectors of their own (Matryoshka representation learning; Kusupati et al., 2022). A
// model's `config.json` says so as vLLM reads it: `matryoshka_dimensions` lists the lengths that it was trained for,
// `is_matryoshka` permits any.
extension TextEmbedder {
    /// The lengths that vectors may be cut to; nil where the model names none.
    public var shorterDimensions: [Int]? {
        model.configuration["matryoshka_dimensions"]?.array?.compactMap(\.int)
    }

    /// Whether vectors may be cut to so many elements, or have as many.
    public func canShorten(to count: Int) -> Bool {
        if count == dimensions { return true }
        guard (1..<dimensions).contains(count) else { return false }
        if let shorterDimensions { return shorterDimensions.contains(count) }
        return model.configuration["is_matryoshka"]?.bool == true
    }

    /// The beginning of a vector, at length 1 if that is the length of the model's vectors.
    public func shortened(_ vector: [Float], to count: Int) -> [Float] {
        guard count < vector.count else { return vector }
        let part = vector.prefix(count)
        guard case .normalize = modules.steps.last else { return Array(part) }
        let length = part.reduce(Double(0)) { $0 + Double($1) * Double($1) }.squareRoot()
        return length > 0 ? part.map { Float(Double($0) / length) } : Array(part)
    }
}
