import Foundation

/// The ways to cut words into pieces of a unigram model, and what they say of the pieces.
struct UnigramLattice: Sendable {
    /// Of characters that are no piece; far below any piece.
    static let unknownScore = -1e5

    private let edges: PairMap
    private let ends: [Int32]
    private let scores: [Double]

    init(_ pieces: [UnigramTrainer.Piece]) {
        edges = PairMap(minimumCapacity: pieces.count * 3)
        var ends: [Int32] = [-1]
        for (id, piece) in pieces.enumerated() { ends[edges.insertPath(piece.bytes, ends: &ends)] = Int32(id) }
        self.ends = ends
        scores = pieces.map(\.score)
    }

    /// A piece within a word.
    fileprivate struct Edge {
        var start, end, id: Int32
        var score: Double
    }

    /// Reused from word to word.
    struct Scratch {
        fileprivate var edges: [Edge] = []
        fileprivate var alpha: [Double] = []
        fileprivate var beta: [Double] = []
        fileprivate var best: [Int32] = []
    }

    /// Collects the pieces that lie in a word, by where they begin.
    private func collect(_ bytes: UnsafePointer<UInt8>, _ count: Int, _ scratch: inout Scratch, excluding: Int32) {
        scratch.edges.removeAll(keepingCapacity: true)
        var start = 0
        while start < count {
            let length = decodeScalar(bytes, start, count).length
            var node: UInt32 = 0
            var end = start
            var hasSingle = false
            while end < count {
                let next = edges.find(node, UInt32(bytes[end]))
                if next == PairMap.missing { break }
                node = UInt32(truncatingIfNeeded: next)
                end += 1
                let id = ends[Int(node)]
                if id < 0 || id == excluding { continue }
                scratch.edges.append(Edge(start: Int32(start), end: Int32(end), id: id, score: scores[Int(id)]))
                if end - start == length { hasSingle = true }
            }
            if !hasSingle {
                scratch.edges.append(
                    Edge(start: Int32(start), end: Int32(start + length), id: -1, score: Self.unknownScore))
            }
            start += length
        }
    }

    private static func reset(_ sums: inout [Double], _ count: Int) {
        sums.removeAll(keepingCapacity: true)
        sums.append(contentsOf: repeatElement(-Double.infinity, count: count + 1))
    }

    @inline(__always)
    private static func logAdd(_ a: Double, _ b: Double) -> Double {
        let (high, low) = a > b ? (a, b) : (b, a)
        // e^-50 is below the last bit of 1
        return low < high - 50 ? high : high + log1p(exp(low - high))
    }

    /// Adds to `expected` how often each piece is used in a word that occurs `times` times, over all ways to cut it.
    ///
    /// - Returns: The logarithm of the word's probability, and the mean number of pieces that it is cut into.
    func expect(
        _ bytes: UnsafePointer<UInt8>, _ count: Int, times: Double, into expected: inout [Double],
        _ scratch: inout Scratch
    ) -> (logProbability: Double, pieces: Double) {
        collect(bytes, count, &scratch, excluding: -1)
        Self.reset(&scratch.alpha, count)
        Self.reset(&scratch.beta, count)
        (scratch.alpha[0], scratch.beta[count]) = (0, 0)
        for edge in scratch.edges {
            let score = scratch.alpha[Int(edge.start)] + edge.score
            scratch.alpha[Int(edge.end)] = Self.logAdd(scratch.alpha[Int(edge.end)], score)
        }
        for edge in scratch.edges.reversed() {
            let score = scratch.beta[Int(edge.end)] + edge.score
            scratch.beta[Int(edge.start)] = Self.logAdd(scratch.beta[Int(edge.start)], score)
        }
        let total = scratch.alpha[count]
        var pieces = 0.0
        for edge in scratch.edges {
            let logShare = scratch.alpha[Int(edge.start)] + edge.score + scratch.beta[Int(edge.end)] - total
            let share = exp(logShare)
            pieces += share
            if edge.id >= 0 { expected[Int(edge.id)] += share * times }
        }
        return (total, pieces)
    }

    /// The likeliest way to cut a word, as ids (-1 for a character that is no piece), and its logarithm.
    ///
    /// - Parameter excluding: A piece that must not be used.
    func best(
        _ bytes: UnsafePointer<UInt8>, _ count: Int, excluding: Int32 = -1, _ scratch: inout Scratch
    ) -> (ids: [Int32], score: Double) {
        collect(bytes, count, &scratch, excluding: excluding)
        Self.reset(&scratch.alpha, count)
        scratch.best.removeAll(keepingCapacity: true)
        scratch.best.append(contentsOf: repeatElement(-1, count: count + 1))
        scratch.alpha[0] = 0
        for (number, edge) in scratch.edges.enumerated() {
            let score = scratch.alpha[Int(edge.start)] + edge.score
            if score > scratch.alpha[Int(edge.end)] {
                scratch.alpha[Int(edge.end)] = score
                scratch.best[Int(edge.end)] = Int32(number)
            }
        }
        var ids: [Int32] = []
        var end = count
        while end > 0, scratch.best[end] >= 0 {
            let edge = scratch.edges[Int(scratch.best[end])]
            ids.append(edge.id)
            end = Int(edge.start)
        }
        return (ids.reversed(), scratch.alpha[count])
    }
}

/// The logarithmic derivative of the gamma function, for positive arguments.
func digamma(_ x: Double) -> Double {
    var (x, result) = (x, 0.0)
    while x < 7 {
        result -= 1 / x
        x += 1
    }
    x -= 0.5
    let square = 1 / (x * x)
    return result + log(x) + square * (1.0 / 24 - square * (7.0 / 960 - square * (31.0 / 8064 - square * 127 / 30720)))
}
