/// Word and character error rates (Levenshtein, 1966), as jiwer gives them.
enum ErrorRate {
    /// Words between white space.
    static func words(_ text: String) -> [[Unicode.Scalar]] {
        text.unicodeScalars.split { $0.properties.isWhitespace }.map(Array.init)
    }

    /// Characters, the white space at the ends left out.
    static func characters(_ text: String) -> [Unicode.Scalar] { Array(text.trimmingWhitespace().unicodeScalars) }

    /// The fewest substitutions, deletions and insertions that turn the reference into the text, and the length of the
    /// reference.
    static func statistics<Item: Equatable>(_ items: [Item], _ reference: [Item]) -> [Double] {
        var row = Array(0...reference.count)
        for item in items {
            var diagonal = row[0]
            row[0] += 1
            for column in 1..<max(1, row.count) {
                let above = row[column]
                let substituted = diagonal + (item == reference[column - 1] ? 0 : 1)
                row[column] = min(substituted, above + 1, row[column - 1] + 1)
                diagonal = above
            }
        }
        return [Double(row[reference.count]), Double(reference.count)]
    }
}
