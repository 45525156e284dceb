import MoruBase

/// How alike texts are: the Jaccard similarity of their shingles, runs of five characters of the text in lower case with
/// blanks and punctuation as single spaces.
enum Shingles {
    static let length = 5

    /// The hashes of a text's shingles; a shorter text is one shingle.
    static func hashes(of text: String) -> Set<UInt64> {
        let scalars = normalised(text)
        guard scalars.count > length else { return scalars.isEmpty ? [] : [hash(scalars[...])] }
        var hashes = Set<UInt64>(minimumCapacity: scalars.count)
        for begin in 0...(scalars.count - length) { hashes.insert(hash(scalars[begin..<begin + length])) }
        return hashes
    }

    /// The share of the shingles of either text that both have, 0 to 1.
    static func similarity(_ first: Set<UInt64>, _ second: Set<UInt64>) -> Double {
        if first.isEmpty || second.isEmpty { return first == second ? 1 : 0 }
        let shared =
            first.count < second.count ? first.count(where: second.contains) : second.count(where: first.contains)
        return Double(shared) / Double(first.count + second.count - shared)
    }

    private static func hash(_ scalars: ArraySlice<UInt32>) -> UInt64 {
        var fingerprint = Fingerprint()
        for scalar in scalars { fingerprint.add(UInt64(scalar)) }
        return fingerprint.value
    }

    private static func normalised(_ text: String) -> [UInt32] {
        var result: [UInt32] = []
        var isGap = false
        for scalar in text.lowercased().unicodeScalars {
            // Letters and digits of every script, and the marks that belong to them
            guard scalar.properties.isAlphabetic || scalar.properties.numericType != nil || scalar.value > 0x1_F000
            else {
                isGap = true
                continue
            }
            if isGap, !result.isEmpty { result.append(0x20) }
            isGap = false
            result.append(scalar.value)
        }
        return result
    }
}

/// A short summary of a set of shingles; the share of places at which two agree estimates their similarity (Broder,
/// 1997).
struct MinHash: Sendable {
    static let (bands, rows) = (25, 5)

    let values: [UInt32]

    /// The multipliers of the hash functions, odd and fixed for ever.
    private static let multipliers: [UInt64] = {
        var generator = SplitMix64(seed: 0x6D69_6E68_6173_68)
        return (0..<bands * rows).map { _ in generator.next() | 1 }
    }()

    init(_ shingles: Set<UInt64>) {
        var values = Array(repeating: UInt32.max, count: Self.multipliers.count)
        values.withUnsafeMutableBufferPointer { values in
            Self.multipliers.withUnsafeBufferPointer { multipliers in
                for shingle in shingles {
                    for place in 0..<values.count {
                        values[place] = min(
                            values[place], UInt32(truncatingIfNeeded: (shingle &* multipliers[place]) >> 32))
                    }
                }
            }
        }
        self.values = values
    }

    /// A hash of each band: texts that agree in any band are worth comparing. Of pairs that are 0.8 alike 99.99 % are
    /// found, of pairs 0.6 alike 87 %.
    var bandHashes: [UInt64] {
        (0..<Self.bands).map { band in
            var fingerprint = Fingerprint()
            fingerprint.add(band)
            for row in 0..<Self.rows { fingerprint.add(UInt64(values[band * Self.rows + row])) }
            return fingerprint.value
        }
    }
}

/// Finds texts that are nearly the same, without comparing all pairs (Indyk and Motwani, 1998).
struct NearDuplicates {
    /// Two texts that are alike.
    struct Pair: Hashable {
        /// The numbers of the texts, the smaller first.
        let first: Int
        let second: Int
        /// The Jaccard similarity of their shingles.
        let similarity: Double
    }

    /// In a crowd of texts that agree in a band, each is compared with this many others.
    private static let comparisons = 16

    /// The pairs that were found, the most alike first.
    let pairs: [Pair]
    private var groups: DisjointSets

    /// Compares texts.
    ///
    /// - Parameter threshold: How alike two texts must be, above 0.
    init(_ texts: [String], threshold: Double) {
        let shingles = inParallel(texts.count) { Shingles.hashes(of: texts[$0]) }
        let bands = inParallel(texts.count) { shingles[$0].isEmpty ? [] : MinHash(shingles[$0]).bandHashes }
        var groups = DisjointSets(texts.count)
        var buckets: [UInt64: [Int]] = [:]
        var compared = Set<[Int]>()
        var pairs: [Pair] = []
        for (number, hashes) in bands.enumerated() {
            for hash in hashes {
                for other in buckets[hash, default: []] where compared.insert([other, number]).inserted {
                    let similarity = Shingles.similarity(shingles[other], shingles[number])
                    guard similarity >= threshold else { continue }
                    pairs.append(Pair(first: other, second: number, similarity: similarity))
                    groups.join(other, number)
                }
                if buckets[hash, default: []].count < Self.comparisons { buckets[hash, default: []].append(number) }
            }
        }
        self.pairs = pairs.sorted { ($1.similarity, $0.first, $0.second) < ($0.similarity, $1.first, $1.second) }
        self.groups = groups
    }

    /// For each text the number of its group; texts that are alike, or alike to a third, are in the same.
    mutating func groupNumbers(count: Int) -> [Int] { (0..<count).map { groups.root(of: $0) } }
}

/// Sets that are joined until they are as large as they get.
struct DisjointSets {
    private var parents: [Int]

    init(_ count: Int) { parents = Array(0..<count) }

    mutating func root(of element: Int) -> Int {
        var element = element
        while parents[element] != element {
            parents[element] = parents[parents[element]]
            element = parents[element]
        }
        return element
    }

    /// Joins the sets of two elements; the smaller number stands for both.
    mutating func join(_ first: Int, _ second: Int) {
        let (first, second) = (root(of: first), root(of: second))
        parents[max(first, second)] = min(first, second)
    }
}
