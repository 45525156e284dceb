import Dispatch
import Foundation
import MoruBase

/// Learns a unigram language model (Kudo, 2018): from many frequent substrings, those are dropped again and again whose
/// loss costs the likelihood of the corpus least, their probabilities found by expectation maximisation.
struct UnigramTrainer {
    /// A piece and the logarithm of its probability.
    struct Piece: Sendable {
        var bytes: [UInt8]
        var score: Double
    }

    /// What was learnt: pieces, the likeliest first.
    struct Result: Sendable {
        var pieces: [Piece]
    }

    /// The piece of the unknown token.
    static let unknown = "<unk>"
    /// Ids that are no pieces: the unknown token and the bytes.
    static let reservedCount = 257
    /// Longer words (data, not language) are not learnt from.
    static let maximumWordBytes = 256

    /// The share of the text's characters that have a piece of their own; the rest are spelt in bytes.
    private static let coverage = 0.9995
    /// The share of the pieces that one round of pruning keeps.
    private static let shrinking = 0.75
    private static let iterations = 2
    /// Parts of the words that are worked on side by side; fixed, so that no sum depends on the number of threads.
    private static let lanes = 8

    /// Pieces to end with.
    let pieceCount: Int
    static func logarithm(_ value: Double) -> Double { log(value) }

    /// Learns from words.
    ///
    /// - Parameter progress: Told the number of pieces after each round; returning false ends the training.
    /// - Throws: ``MoruError/Code/tokenizerTraining`` when the text has too few substrings.
    func train(_ words: WordList, progress: (Int) -> Bool = { _ in true }) throws(MoruError) -> Result {
        var seeds = UnigramSeeds(words)
        var (required, pieces) = seeds.make(max(1 << 16, min(1 << 20, pieceCount * 20)), coverage: Self.coverage)
        guard required < pieceCount else {
            throw MoruError(
                .tokenizerTraining, "the text has \(required) characters, more than the \(pieceCount) pieces wanted",
                remedy: "use a larger vocabulary")
        }
        // A little more than wanted, so that the last choice is by probability
        let target = max(pieceCount, min(pieces.count, pieceCount * 11 / 10))
        while true {
            for _ in 0..<Self.iterations { pieces = maximized(pieces, required: required, words) }
            guard progress(pieces.count), pieces.count > target else { break }
            pieces = pruned(
                pieces, required: required, to: max(target, Int(Double(pieces.count) * Self.shrinking)), words)
        }
        let kept = pieces[..<required] + pieces[required...].sorted(by: Self.precedes).prefix(pieceCount - required)
        guard kept.count == pieceCount else {
            throw MoruError(
                .tokenizerTraining, "the text gives \(kept.count) pieces, \(pieceCount) are wanted",
                remedy: "train on more text, or use a vocabulary of \(kept.count + Self.reservedCount) ids or fewer")
        }
        return Result(pieces: kept.sorted(by: Self.precedes))
    }

    private static func precedes(_ a: Piece, _ b: Piece) -> Bool {
        a.score != b.score ? a.score > b.score : a.bytes.lexicographicallyPrecedes(b.bytes)
    }

    /// Calls `body` with every word, part by part on several threads, and returns the parts' results in order.
    private func overWords<Part: Sendable>(
        _ words: WordList, _ body: @Sendable (Int, inout Part) -> Void, _ start: @Sendable () -> Part
    ) -> [Part] {
        var parts = (0..<Self.lanes).map { _ in start() }
        parts.withUnsafeMutableBufferPointer { parts in
            nonisolated(unsafe) let parts = parts  // each lane writes its own element
            DispatchQueue.concurrentPerform(iterations: Self.lanes) { lane in
                for word in stride(from: lane, to: words.count, by: Self.lanes)
                where words.range(word).count <= Self.maximumWordBytes {
                    body(word, &parts[lane])
                }
            }
        }
        return parts
    }

    private struct Expectation: Sendable {
        var counts: [Double]
        var scratch = UnigramLattice.Scratch()
    }

    /// One round of expectation maximisation: scores from how often each piece is used over all ways to cut each word.
    /// Pieces that are hardly used go, but the `required` first ones stay.
    private func maximized(_ pieces: [Piece], required: Int, _ words: WordList) -> [Piece] {
        let lattice = UnigramLattice(pieces)
        let parts = overWords(
            words,
            { word, part in
                let range = words.range(word)
                words.bytes.withUnsafeBufferPointer { bytes in
                    _ = lattice.expect(
                        bytes.baseAddress! + range.lowerBound, range.count, times: Double(words.counts[word]),
                        into: &part.counts, &part.scratch)
                }
            }, { Expectation(counts: [Double](repeating: 0, count: pieces.count)) })
        var kept: [(piece: Piece, count: Double)] = []
        for (id, piece) in pieces.enumerated() {
            let count = parts.reduce(0) { $0 + $1.counts[id] }
            if id < required || count >= 0.5 { kept.append((piece, max(count, 0.5))) }
        }
        let total = digamma(kept.reduce(0) { $0 + $1.count })
        return kept.map { Piece(bytes: $0.piece.bytes, score: digamma($0.count) - total) }
    }

    private struct Usage: Sendable {
        var counts: [Double]
        var scratch = UnigramLattice.Scratch()
    }

    /// Keeps `count` pieces: the required ones, and those without which the corpus would lose most of its likelihood.
    private func pruned(_ pieces: [Piece], required: Int, to count: Int, _ words: WordList) -> [Piece] {
        let lattice = UnigramLattice(pieces)
        let parts = overWords(
            words,
            { word, part in
                let range = words.range(word)
                words.bytes.withUnsafeBufferPointer { bytes in
                    let best = lattice.best(bytes.baseAddress! + range.lowerBound, range.count, &part.scratch)
                    for id in best.ids where id >= 0 { part.counts[Int(id)] += Double(words.counts[word]) }
                }
            }, { Usage(counts: [Double](repeating: 0, count: pieces.count)) })
        let usage = pieces.indices.map { id in parts.reduce(0) { $0 + $1.counts[id] } }
        let total = usage.reduce(0, +)
        var scratch = UnigramLattice.Scratch()
        var candidates: [(id: Int, loss: Double)] = []
        var kept = Array(pieces[..<required])
        for id in required..<pieces.count where usage[id] > 0 {
            let bytes = pieces[id].bytes
            let other = bytes.withUnsafeBufferPointer {
                lattice.best($0.baseAddress!, $0.count, excluding: Int32(id), &scratch)
            }
            // A piece that is cut itself is of no use; one that cannot be is beyond price
            if other.score > pieces[id].score { continue }
            let isReplaceable = other.ids.allSatisfy { $0 >= 0 }
            let own = log(usage[id] / total)
            let grown = log(total + usage[id] * Double(other.ids.count - 1))
            let instead = other.ids.reduce(0.0) { $0 + log(usage[Int(max($1, 0))] + usage[id]) - grown }
            candidates.append((id, isReplaceable ? usage[id] / total * (own - instead) : .infinity))
        }
        candidates.sort { $0.loss != $1.loss ? $0.loss > $1.loss : $0.id < $1.id }
        kept += candidates.prefix(max(0, count - required)).map { pieces[$0.id] }
        return kept
    }
}
