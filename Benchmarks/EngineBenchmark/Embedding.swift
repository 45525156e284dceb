import Foundation
import MoruBase
import MoruModels
import MoruTensor

/// Vectors of 32 sentences of 32 tokens, as a sentence encoder gives them.
struct EmbeddingMeasurement {
    private static let words =
        "machine learning models turn each sentence into a vector so that similar meaning lands near in space and search "
        + "works without exact words"

    /// The same sentences as in Benchmarks/Peers/embedding.py.
    static let sentences: [String] = {
        let list = words.split(separator: " ")
        return (0..<32).map { row in
            (0..<30).map { String(list[(row * 7 + $0 * 3 + row * $0) % list.count]) }.joined(separator: " ")
        }
    }()

    /// Texts of other kinds, whose vectors are compared as well; the same as in Benchmarks/Peers/embedding.py.
    private static let others = [
        "yes no", "ok", "a", "!!!", "What is the capital of France?", "3.14159 2.71828 1.41421", "Wo ist der Bahnhof?",
        "SELECT * FROM users WHERE id = 42;",
        "Stocks fell sharply on Monday after the central bank raised interest rates.",
        Array(repeating: "She was diagnosed with type 2 diabetes last year.", count: 12).joined(separator: " "),
    ]

    private let embedder: TextEmbedder
    private let sequences: [[Int32]]
    private let expected: [Float]

    init(_ path: String) throws {
        embedder = try TextEmbedder.load(path)
        let tokenizer = embedder.model.tokenizer
        sequences = Self.sentences.map { tokenizer.encode($0) }
        guard sequences.allSatisfy({ $0.count == 32 }) else {
            throw BenchmarkFailure(description: "the sentences are not of 32 tokens: measure all-MiniLM-L6-v2")
        }
        expected = try embedder.embed(Self.sentences).vectors.values()
        // A text alone has the vector that it has among others
        let alone = try embedder.embed([Self.sentences[7]]).vectors.values()
        guard alone == Array(expected[7 * alone.count..<8 * alone.count]) else {
            throw BenchmarkFailure(description: "a sentence alone has another vector")
        }
    }

    private func vectors(of texts: [String]) throws -> [JSON] {
        let values = try embedder.embed(texts).vectors.values()
        return stride(from: 0, to: values.count, by: values.count / texts.count).map { start in
            .array(values[start..<start + values.count / texts.count].map { .double(Double($0)) })
        }
    }

    /// Sentences a second: the median of many batches, with the tokens given and from texts.
    func round() throws -> JSON {
        func rate(_ step: () throws -> Tensor) throws -> JSON {
            var seconds: [Double] = []
            for _ in 0..<20 {
                let begin = ContinuousClock.now
                let vectors = try step()
                seconds.append((ContinuousClock.now - begin).seconds)
                guard vectors.values() == expected else {
                    throw BenchmarkFailure(description: "a batch brought other vectors than the check")
                }
            }
            return .double(Double(Self.sentences.count) / seconds.sorted()[seconds.count / 2])
        }
        return [
            "benchmark": "embed", "sentences_per_second": try rate { embedder.vectors(of: sequences) },
            "sentences_per_second_from_texts": try rate { try embedder.embed(Self.sentences).vectors },
            "vectors": .array(try vectors(of: Self.sentences + Self.others)),
            "kernels": .string(Runtime.shared.kernelName), "threads": .int(Runtime.shared.threads.threadCount),
        ]
    }
}
