/// A unigram language model: of all ways to cut a word into pieces, the one of highest probability (Kudo, 2018).
struct UnigramModel: Sendable {
    /// How far below the least likely piece an unknown character lies, in log probability.
    private static let unknownPenalty = 10.0

    private let scores: [Double]
    private let unknown: Int32?
    private let unknownScore: Double
    private let fallbackIDs: [Int32]?
    private let edges: PairMap
    /// For each node of the trie, the id of the piece that ends there, or -1.
    private let ends: [Int32]
    private let vocabulary: Vocabulary

    init(vocabulary: Vocabulary, scores: [Double], unknown: Int32?, fallbackIDs: [Int32]?) {
        self.vocabulary = vocabulary
        self.scores = scores
        self.unknown = unknown
        self.fallbackIDs = fallbackIDs
        unknownScore = (scores.min() ?? 0) - Self.unknownPenalty
        let edges = PairMap(minimumCapacity: scores.count * 4)
        var ends: [Int32] = [-1]
        for id in 0..<vocabulary.size {
            let piece = vocabulary.bytes(of: id)
            if piece.isEmpty { continue }
            // Of pieces that occur twice the last counts, as in the reference.
            ends[edges.insertPath(piece, ends: &ends)] = Int32(id)
        }
        self.edges = edges
        self.ends = ends
    }

    private struct Node {
        var score = 0.0
        var start: Int32 = -1
        var id: Int32 = -1
    }

    func encode(_ bytes: UnsafePointer<UInt8>, _ count: Int, _ output: IDBuffer) {
        var best = [Node](repeating: Node(), count: count + 1)
        var start = 0
        while start < count {
            let base = best[start].score
            let length = decodeScalar(bytes, start, count).length
            var hasSingle = false
            var node: UInt32 = 0
            var end = start
            while end < count {
                let next = edges.find(node, UInt32(bytes[end]))
                if next == PairMap.missing { break }
                node = UInt32(truncatingIfNeeded: next)
                end += 1
                let id = ends[Int(node)]
                if id < 0 { continue }
                let score = base + scores[Int(id)]
                if best[end].start < 0 || score > best[end].score {
                    best[end] = Node(score: score, start: Int32(start), id: id)
                }
                if end - start == length { hasSingle = true }
            }
            if !hasSingle {
                let end = start + length
                let score = base + unknownScore
                if best[end].start < 0 || score > best[end].score {
                    best[end] = Node(score: score, start: Int32(start), id: unknown ?? -1)
                }
            }
            start += length
        }
        write(best, bytes, count, output)
    }

    /// Follows the best path back; neighbouring unknowns become one.
    private func write(_ best: [Node], _ bytes: UnsafePointer<UInt8>, _ count: Int, _ output: IDBuffer) {
        var pieces: [(start: Int, end: Int, id: Int32)] = []
        var end = count
        while end > 0 {
            let node = best[end]
            let isUnknown = node.id < 0 || node.id == unknown
            if isUnknown, let last = pieces.last, last.start == end, last.id == -1 {
                pieces[pieces.count - 1].start = Int(node.start)
            } else {
                pieces.append((Int(node.start), end, isUnknown ? -1 : node.id))
            }
            end = Int(node.start)
        }
        for piece in pieces.reversed() {
            if piece.id >= 0 {
                output.append(piece.id)
                continue
            }
            let known = vocabulary.find(bytes + piece.start, piece.end - piece.start)
            if known >= 0 {
                output.append(known)
            } else if let fallbackIDs, (piece.start..<piece.end).allSatisfy({ fallbackIDs[Int(bytes[$0])] >= 0 }) {
                for position in piece.start..<piece.end { output.append(fallbackIDs[Int(bytes[position])]) }
            } else if let unknown {
                output.append(unknown)
            }
        }
    }
}
