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
    /// ``expectedError`` and ``brierScore``, with their intervals.
    public let figures: [Figure]

    /// Expected calibration error: the mean distance between confidence and accuracy (Guo et al., 2017).
    public var expectedError: Double { figures[0].value ?? 0 }
    /// The mean squared distance between confidence and being right (Brier, 1950), for the given answer alone.
    public var brierScore: Double { figures[1].value ?? 0 }

    /// Measures answers in bins of equal width; nil without answers.
    ///
    /// - Parameters:
    ///   - answers: Each answer's confidence, 0 to 1, and whether it is right.
    ///   - binCount: The number of bins.
    public init?(_ answers: [(confidence: Double, isRight: Bool)], binCount: Int = 10) {
        guard !answers.isEmpty else { return nil }
        func sums(_ indices: some Sequence<Int>) -> [(count: Int, confidence: Double, right: Int)] {
            var sums = [(count: Int, confidence: Double, right: Int)](repeating: (0, 0, 0), count: binCount)
            for index in indices {
                let answer = answers[index]
                let bin = min(binCount - 1, max(0, Int(answer.confidence * Double(binCount))))
                sums[bin].count += 1
                sums[bin].confidence += answer.confidence
                sums[bin].right += answer.isRight ? 1 : 0
            }
            return sums
        }
        let all = sums(answers.indices)
        bins = all.indices.filter { all[$0].count > 0 }.map { index in
            let width = 1 / Double(binCount), sum = all[index]
            return Bin(
                confidences: Double(index) * width..<Double(index + 1) * width, count: sum.count,
                confidence: sum.confidence / Double(sum.count), accuracy: Double(sum.right) / Double(sum.count))
        }
        let distances = answers.map { answer in
            let distance = answer.confidence - (answer.isRight ? 1 : 0)
            return distance * distance
        }
        figures = Figure.measure(Self.figureKinds, count: answers.count) { indices in
            let total = Double(indices.count)
            let error = sums(indices).reduce(0) { $0 + abs($1.confidence - Double($1.right)) / total }
            return [error, indices.reduce(0) { $0 + distances[$1] } / total]
        }
    }

    /// The figures of any calibration.
    static let figureKinds = [
        Figure.Kind("calibration_error", prefersMore: false),
        Figure.Kind("brier_score", "Brier score", unit: .number, prefersMore: false, isDetail: true),
    ]

    /// The measures and bins as an object.
    public var json: JSON {
        [
            "expected_calibration_error": .double(expectedError),
            "expected_calibration_error_interval": figures[0].interval?.json ?? .null,
            "brier_score": .double(brierScore), "brier_score_interval": figures[1].interval?.json ?? .null,
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
