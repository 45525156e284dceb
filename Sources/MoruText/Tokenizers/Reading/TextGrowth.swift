import MoruBase

/// How many bytes a byte of a text may become in the steps of a tokenizer, as far as its file decides: hostile files
/// exhaust the memory with a few steps that each put long texts in place of short ones.
///
/// Steps are taken in from the last to the first. What a step puts in grows in those after it, and in no others, so a
/// file may replace any number of symbols by their names.
struct TextGrowth {
    /// Published tokenizers need about ten: a mark of three bytes, in two bytes of the byte alphabet each, before a byte.
    static let limit = 100.0

    /// For each byte, the most bytes that it becomes.
    private var weights = [Double](repeating: 1, count: 256)

    /// The most bytes that any byte becomes.
    private(set) var most = 1.0

    /// How many bytes some bytes become.
    private func weight(of bytes: [UInt8]) -> Double { bytes.reduce(0) { $0 + weights[Int($1)] } }

    private mutating func raise(_ byte: Int, to weight: Double) {
        weights[byte] = max(weights[byte], weight)
        most = max(most, weights[byte])
    }

    /// Takes in a replacement that precedes the steps so far.
    mutating func precede(byReplacing pattern: TextPattern, with replacement: [UInt8]) {
        let weight = weight(of: replacement)
        switch pattern {
        case .literal(let text):
            for byte in text { raise(Int(byte), to: weight / Double(text.count)) }
        case .regex(let program): for byte in program.bytesOfMatches { raise(Int(byte), to: weight) }
        }
    }

    /// Takes in a text that is put before each text, which has a byte at least.
    mutating func precede(byPrepending prefix: [UInt8]) {
        let weight = weight(of: prefix)
        for byte in 0..<256 { raise(byte, to: weights[byte] + weight) }
    }

    /// Takes in a step that may make any byte of any other, such as a form of Unicode.
    mutating func precedeByMixing() { for byte in 0..<256 { raise(byte, to: most) } }

    /// Takes in the characters of ``ByteAlphabet``.
    mutating func precedeByByteAlphabet() {
        weights = (0..<256).map { byte in weight(of: ByteAlphabet.encode([UInt8(byte)])) }
        most = weights.max() ?? 1
    }

    /// The error for a file's field that, together with what follows it, makes texts too long; nil within the limit.
    func excess(_ section: Section) -> MoruError? {
        guard most > Self.limit else { return nil }
        let times = most < 1e9 ? "\(Int(most.rounded(.up)))" : "over a billion"
        return MoruError(
            .tokenizerUnsupported,
            "\(section.source): \(section.path), with the steps after it, can make a text \(times) times as long, and "
                + "the limit is \(Int(Self.limit)) times",
            remedy:
                "shorten what the steps put in, or take fewer: no published tokenizer comes near the limit, so check "
                + "where this file is from")
    }
}

extension RegexProgram {
    /// Which bytes a match may have.
    fileprivate var bytesOfMatches: Set<UInt8> {
        var bytes: Set<UInt8> = []
        for instruction in program {
            let set: ScalarSet
            switch instruction {
            case .set(let its): set = its
            case .loop(let its, _, _, _): set = its
            default: continue
            }
            for byte in UInt8(0)..<0x80 where set.contains(UInt32(byte)) { bytes.insert(byte) }
            if set.reachesBeyondASCII { bytes.formUnion(UInt8(0x80)...UInt8.max) }
        }
        return bytes
    }
}

extension ScalarSet {
    /// Whether the set may have scalars beyond ASCII.
    fileprivate var reachesBeyondASCII: Bool {
        isNegated
            || items.contains { item in
                switch item {
                case .range(let range): range.upperBound > 0x7F
                case .nested(let set): set.reachesBeyondASCII
                case .categories, .whitespace, .word: true
                }
            }
    }
}

extension Normalizer {
    /// Takes in how the normalizer makes texts grow.
    ///
    /// - Throws: ``MoruError/Code/tokenizerUnsupported`` where it makes them too long, naming the field.
    func addGrowth(to growth: inout TextGrowth, _ section: Section) throws(MoruError) {
        switch self {
        case .sequence(let steps):
            let sections = try section.required("normalizers").elements()
            for (step, section) in zip(steps, sections).reversed() { try step.addGrowth(to: &growth, section) }
            return
        case .replace(let pattern, let replacement): growth.precede(byReplacing: pattern, with: replacement)
        case .prepend(let prefix): growth.precede(byPrepending: prefix)
        case .byteLevel: growth.precedeByByteAlphabet()
        case .strip: break
        // Of fixed tables, which make few texts longer, and none again what they have made
        case .unicode, .lowercase, .stripAccents, .bert, .nmt, .precompiled: growth.precedeByMixing()
        }
        if let error = growth.excess(section) { throw error }
    }
}

extension PreTokenizer {
    /// Takes in how the pre-tokenizer makes words grow.
    func addGrowth(to growth: inout TextGrowth) {
        switch self {
        case .byteLevel(let addsPrefixSpace, _):
            growth.precedeByByteAlphabet()
            if addsPrefixSpace { growth.precede(byPrepending: [0x20]) }
        case .metaspace(let mark, let scheme, _):
            if scheme != .never { growth.precede(byPrepending: mark) }
            growth.precede(byReplacing: .literal([0x20]), with: mark)
        case .scan, .split, .classes: break
        }
    }
}

extension TokenDecoder {
    /// Refuses decoders that make the pieces of tokens too long, naming the field.
    ///
    /// - Throws: ``MoruError/Code/tokenizerUnsupported``.
    static func checkGrowth(_ steps: [TokenDecoder], _ section: Section) throws(MoruError) {
        var growth = TextGrowth()
        for step in steps.reversed() {
            if case .replace(let pattern, let replacement) = step {
                growth.precede(byReplacing: pattern, with: replacement)
            }
            if let error = growth.excess(section) { throw error }
        }
    }
}
