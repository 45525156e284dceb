/// How two lists of numbers go together.
package enum Correlation {
    /// Pearson's correlation; nil where either side does not vary.
    package static func pearson(_ x: [Double], _ y: [Double]) -> Double? {
        let count = Double(x.count)
        let (meanX, meanY) = (x.reduce(0, +) / count, y.reduce(0, +) / count)
        var (squaresX, squaresY, products) = (0.0, 0.0, 0.0)
        for (x, y) in zip(x, y) {
            squaresX += (x - meanX) * (x - meanX)
            squaresY += (y - meanY) * (y - meanY)
            products += (x - meanX) * (y - meanY)
        }
        let spread = (squaresX * squaresY).squareRoot()
        return spread > 0 ? products / spread : nil
    }

    /// Spearman's: Pearson's of the ranks, equal numbers sharing the mean of theirs.
    package static func spearman(_ x: [Double], _ y: [Double]) -> Double? { pearson(ranks(x), ranks(y)) }

    private static func ranks(_ values: [Double]) -> [Double] {
        let order = values.indices.sorted { values[$0] < values[$1] }
        var ranks = Array(repeating: 0.0, count: values.count)
        var begin = 0
        while begin < order.count {
            var end = begin + 1
            while end < order.count, values[order[end]] == values[order[begin]] { end += 1 }
            for place in begin..<end { ranks[order[place]] = Double(begin + end - 1) / 2 }
            begin = end
        }
        return ranks
    }
}
