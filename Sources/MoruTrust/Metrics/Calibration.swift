import MoruBase

/// Whether a classifier's confidence can be believed: of the answers given with confidence 0.8, 80 % should be right.
public struct Calibration: Sendable, Hashable {
    /// Answers of similar confidence.
    public struct Bin: Sendable, Hashable {
        /// The confidences that fall into it.
        public let confidences: Range<Double>
        /// The number of answers.
        public let count: Int
        /// Their mean confidence, and the share of them that are right.
        public let confidence, accuracy: Double
    }

    /// The bins that hold an answer, from the least confident.
    public let bins: [Bin]
    /// Expected calibration error: the mean distance between confidence and accuracy (Guo et al., 2017).
    public let expectedError: Double
    /// The mean squared distance between confidence and being right (Brier, 1950), for the given answer alone.
    public let brierScore: Double

    /// Measures answers in bins of equal width; nil without answers.
    ///
    /// - Parameters:
    ///   - answers: Each answer's confidence, 0 to 1, and whether it is right.
    ///   - binCount: The number of bins.
    public init?(_ answers: [(confidence: Double, isRight: Bool)], binCount: Int = 10) {
        guard !answers.isEmpty else { return nil }
        var sums = [(count: Int, confidence: Double, right: Int)](repeating: (0, 0, 0), count: binCount)
        for answer in answers {
            let bin = min(binCount - 1, max(0, Int(answer.confidence * Double(binCount))))
            sums[bin].count += 1
            sums[bin].confidence += answer.confidence
            sums[bin].right += answer.isRight ? 1 : 0
        }
        bins = sums.indices.filter { sums[$0].count > 0 }.map { index in
            let width = 1 / Double(binCount), sum = sums[index]
            return Bin(
                confidences: Double(index) * width..<Double(index + 1) * width, count: sum.count,
                confidence: sum.confidence / Double(sum.count), accuracy: Double(sum.right) / Double(sum.count))
        }
        let total = Double(answers.count)
        expectedError = bins.reduce(0) { $0 + Double($1.count) / total * abs($1.confidence - $1.accuracy) }
        brierScore =
            answers.reduce(0) { sum, answer in
                let distance = answer.confidence - (answer.isRight ? 1 : 0)
                return sum + distance * distance
            } / total
    }

    /// The measures and bins as an object.
    public var json: JSON {
        [
            "expected_calibration_error": .double(expectedError), "brier_score": .double(brierScore),
            "bins": .array(
                bins.map { bin in
                    [
                        "from": .double(bin.confidences.lowerBound), "to": .double(bin.confidences.upperBound),
                        "count": .int(bin.count), "confidence": .double(bin.confidence),
                        "accuracy": .double(bin.accuracy),
                    ]
                }),
        ]
    }
}
