/// ROUGE (Lin, 2004) between a text and one reference, with the words of the rouge-score package and no stemming.
enum ROUGE {
    /// The F-measure of shared runs of `n` words, 0 to 1.
    static func nGrams(_ n: Int, _ text: String, reference: String) -> Double {
        let (mine, expected) = (NGrams(words(text), n), NGrams(words(reference), n))
        return fMeasure(shared: mine.overlap(expected), mine.total, expected.total)
    }

    /// The F-measure of the longest common subsequence of words, 0 to 1.
    static func longestCommonSubsequence(_ text: String, reference: String) -> Double {
        let (mine, expected) = (words(text), words(reference))
        var row = [Int](repeating: 0, count: expected.count + 1)
        for word in mine {
            var diagonal = 0
            for column in 1..<max(1, row.count) {
                let above = row[column]
                row[column] = word == expected[column - 1] ? diagonal + 1 : max(above, row[column - 1])
                diagonal = above
            }
        }
        return fMeasure(shared: row[expected.count], mine.count, expected.count)
    }

    private static func fMeasure(shared: Int, _ count: Int, _ expected: Int) -> Double {
        guard shared > 0 else { return 0 }
        let (precision, recall) = (Double(shared) / Double(count), Double(shared) / Double(expected))
        return 2 * precision * recall / (precision + recall)
    }

    /// Runs of ASCII letters and digits in lower case; everything else separates.
    private static func words(_ text: String) -> [Substring] {
        text.lowercased().unicodeScalars.split { !("a"..."z" ~= $0 || "0"..."9" ~= $0) }.map { Substring($0) }
    }
}
