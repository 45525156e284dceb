import MoruModels
import Testing

/// Spans as tags, and back.
@Suite struct TagSchemeTests {
    private func spans(_ tags: String) -> [String] {
        TagScheme.spans(of: tags.split(separator: " ").map(String.init)).map {
            "\($0.tokens.lowerBound)-\($0.tokens.upperBound) \($0.label)"
        }
    }

    @Test func tagsFormSpans() {
        #expect(spans("O B-A I-A O B-B") == ["1-3 A", "4-5 B"])
        #expect(spans("B-A B-A I-B I-B") == ["0-1 A", "1-2 A", "2-4 B"])
        #expect(spans("I-A I-A O I-A") == ["0-2 A", "3-4 A"])
        #expect(spans("B-A I-A E-A S-B I-A E-A I-A") == ["0-3 A", "3-4 B", "4-6 A", "6-7 A"])
        #expect(spans("NAME NAME O DATE") == ["0-2 NAME", "3-4 DATE"])
        #expect(spans("O O") == [])
    }

    @Test func spansBecomeTags() {
        let ranges: [Range<Int>?] = [nil, 0..<3, 4..<7, 7..<9, 9..<9, 10..<12, nil]
        let exact = TagScheme.tags(of: [TextSpan(4..<9, "A"), TextSpan(10..<12, "B")], ranges: ranges)
        #expect(exact.tags == ["O", "O", "B-A", "I-A", "O", "B-B", "O"] && exact.misaligned == nil)
        let within = TagScheme.tags(of: [TextSpan(1..<3, "A")], ranges: ranges)
        #expect(within.tags[1] == "B-A" && within.misaligned == TextSpan(1..<3, "A"))
        #expect(TagScheme.tags(of: [TextSpan(20..<22, "A")], ranges: ranges).misaligned != nil)
        #expect(TagScheme.tags(for: ["A", "B"]) == ["O", "B-A", "I-A", "B-B", "I-B"])
    }
}
