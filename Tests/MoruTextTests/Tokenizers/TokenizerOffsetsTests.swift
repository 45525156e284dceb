import Foundation
import MoruBase
import MoruText
import Testing

/// Where tokens stand in their text, against the Rust `tokenizers` library (`scripts/goldens/offsets.py`).
@Suite struct TokenizerOffsetsTests {
    static let families = [
        "gpt2", "smollm", "qwen2", "roberta", "llama2", "mistral", "gemma", "t5", "bert", "bert-cased",
        "word-level",
    ]

    @Test(arguments: families) func agreeWithTheReference(family: String) throws {
        let folder = TokenizerGolden.folder
        let tokenizer = try Tokenizer(file: "\(folder)/\(family).tokenizer.json")
        let texts = try #require(JSON.parse(file: "\(folder)/corpus.json").array)
        let expected = try #require(JSON.parse(file: "\(folder)/offsets.json")[family]?.array)
        try #require(texts.count == expected.count)
        for (json, golden) in zip(texts, expected) {
            let text = try #require(json.string)
            let encoded = tokenizer.encodeWithOffsets(text, addSpecialTokens: false)
            #expect(encoded.ids == tokenizer.encode(text, addSpecialTokens: false))
            // What looks like a space of SentencePiece is taken for one, and what it touches is not told apart
            if text.contains("▁") || family == "word-level" && text.contains("] [") { continue }
            // Nor are the parts of a syllable that the normalisation puts together
            let joined: Set<UInt32> = [0x85, 0xFF9E, 0xFF9F]
            if ["qwen2", "t5"].contains(family),
                text.unicodeScalars.contains(where: { 0x1100..<0x1200 ~= $0.value || joined.contains($0.value) })
            {
                continue
            }
            let places = (golden.array ?? []).compactMap(\.int)
            try #require(places.count == 2 * encoded.ids.count, "\(text.debugDescription)")
            for (index, range) in encoded.ranges.enumerated() {
                let wanted = places[2 * index]..<places[2 * index + 1]
                // A token of white space alone, such as one that the tokenizer puts in, may stand anywhere in it
                let piece = tokenizer.bytes(of: encoded.ids[index])
                if wanted.isEmpty || piece.allSatisfy({ $0 == 0x20 }) { continue }
                // The reference leaves marks that the normalisation took away to nobody, and tells those apart that it
                // put together
                let scalars = Array(text.unicodeScalars)
                func isMarked(_ place: Int) -> Bool {
                    Self.isMark(scalars[place]) || place + 1 < scalars.count && Self.isMark(scalars[place + 1])
                }
                if let range, range.contains(wanted.lowerBound), range.upperBound >= wanted.upperBound,
                    range.allSatisfy({ wanted.contains($0) || isMarked($0) })
                {
                    continue
                }
                #expect(
                    range == wanted,
                    "token \(index), \(String(decoding: piece, as: UTF8.self)), of \(text.debugDescription)")
                if range != wanted { break }
            }
        }
    }

    private static func isMark(_ scalar: Unicode.Scalar) -> Bool {
        [.nonspacingMark, .spacingMark, .enclosingMark].contains(scalar.properties.generalCategory)
    }

    @Test func specialTokensStandNowhereAndSurviveACut() throws {
        let tokenizer = try Tokenizer(file: "\(TokenizerGolden.folder)/bert.tokenizer.json")
        let encoded = tokenizer.encodeWithOffsets("The anvil stands, the smith said")
        #expect(encoded.ids == tokenizer.encode("The anvil stands, the smith said"))
        #expect(encoded.ranges.first == .some(nil) && encoded.ranges.last == .some(nil))
        #expect(encoded.ranges[1] == 0..<3)
        let cut = encoded.prefix(4)
        #expect(cut.ids == Array(encoded.ids.prefix(3)) + [encoded.ids[encoded.ids.count - 1]])
        #expect(cut.ranges.count == 4 && cut.ranges[3] == nil && encoded.prefix(1000) == encoded)
    }
}
