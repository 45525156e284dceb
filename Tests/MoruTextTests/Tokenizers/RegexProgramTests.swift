import MoruBase
import Testing

@testable import MoruText

@Suite struct RegexProgramTests {
    private func matches(_ pattern: String, _ text: String) throws -> [String] {
        let program = try RegexProgram(pattern)
        let bytes = Array(text.utf8)
        var found: [String] = []
        var position = 0
        while let match = program.firstMatch(bytes, 0, bytes.count, from: position) {
            found.append(String(decoding: bytes[match.start..<match.end], as: UTF8.self))
            position = match.end
        }
        return found
    }

    @Test func repeatsGreedilyLazilyAndPossessively() throws {
        #expect(try matches("a+b?", "aab ab b") == ["aab", "ab"])
        #expect(try matches("<.+?>", "<a><bb>") == ["<a>", "<bb>"])
        #expect(try matches("<.+>", "<a><bb>") == ["<a><bb>"])
        #expect(try matches("a++a", "aaa") == [])
        #expect(try matches("a{2,3}", "aaaaaaa") == ["aaa", "aaa"])
        #expect(try matches("(?:ab){2}", "ababab") == ["abab"])
        #expect(try matches("(?:ab|c)+?d", "abccd") == ["abccd"])
        #expect(try matches(#"\p{N}{1,2}+"#, "12345") == ["12345"])
        #expect(try matches("(?>a|ab)c", "abc ac") == ["ac"])
    }

    @Test func looksAround() throws {
        #expect(try matches(#"\s+(?!\S)"#, "a   b  ") == ["  ", "  "])
        #expect(try matches(#"(?<=é)x"#, "éx ex") == ["x"])
        #expect(try matches(#"(?<!\S)\w+"#, "ab -cd ef") == ["ab", "ef"])
        #expect(try matches(#"a(?=b)"#, "ab ac") == ["a"])
        #expect(try matches(#"\Aa|a\z"#, "aba") == ["a", "a"])
    }

    @Test func readsClasses() throws {
        #expect(try matches(#"[^\p{L}\s]+"#, "ab12 한글!!") == ["12", "!!"])
        #expect(try matches(#"[a-c\-\]]+"#, "ab-]d") == ["ab-]"])
        #expect(try matches(#"[[a-b]c]+"#, "abcd") == ["abc"])
        #expect(try matches(#"\P{L}"#, "a1") == ["1"])
        #expect(try matches(#"\p{^L}"#, "a1") == ["1"])
        #expect(try matches(#"\x41\u0042\x{43}"#, "ABC") == ["ABC"])
        #expect(try matches("(?i:'s|k)", "'S 'ſ K K") == ["'S", "'ſ", "K", "K"])
        #expect(try matches("(?i:[a-k]+)", "KxA") == ["K", "A"])
        #expect(try matches("[一-龥]+", "漢字かな") == ["漢字"])
    }

    @Test(arguments: [
        "(", ")", "a)", "[", "[]", "[a", "a{", "a{2", "a{3,2}", "a{99999}", "*", "+a", "\\", "\\1", "\\k<a>", "(?<n>a)",
        "(?=a)*", "(a*)*", "(?:)+", "^a", "a$", "\\bword", "\\p{Foo}", "\\pL", "[[:alpha:]]", "[a&&b]", "(?m:a)",
        "(?<=ab)c",
        "[z-a]", "\\xZZ", "\\u12", "\\x{110000}", "\\xFF", "(?i:\\p{Lu}[\\p{Lu}])", "a{2}?",
        String(repeating: "(", count: 5000), "(((((a{1000}){1000}){1000}){1000}){1000})",
    ])
    func refusesWhatItCannotDo(pattern: String) {
        let error = #expect(throws: MoruError.self) { try RegexProgram(pattern) }
        #expect(error?.code == .tokenizerUnsupported)
    }

    @Test func aPatternMadeToExplodeEnds() throws {
        let text = [UInt8](repeating: 0x61, count: 64)
        #expect(try RegexProgram("(?:a|a)+b").match(text, 0, text.count, at: 0) == nil)
    }

    /// The hand-written scanners against the patterns they stand for, over random text with invalid bytes.
    @Test(arguments: [WordScanner.gpt2, .llama3(digits: 3), .llama3(digits: 1)])
    func scannersAgreeWithTheirPatterns(scanner: WordScanner) throws {
        let program = try RegexProgram(scanner.pattern)
        #expect(WordScanner(pattern: scanner.pattern) == scanner)
        let alphabet =
            ["a", "B", "s", "t", "ll", "re", "'", "'", "’", "ſ", "K", "é", "e\u{301}", "한", "글", "1", "2", "३", "²"]
            + [" ", " ", "\n", "\r", "\t", "\u{A0}", "\u{3000}", "\u{85}", "!", ".", "_", "😀", "\u{200D}", "\u{0}"]
        let pieces = alphabet.map { Array($0.utf8) } + [[0xFF], [0xE2, 0x82], [0x80]]
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<4000 {
            let text = (0..<Int.random(in: 1...14, using: &generator)).flatMap { _ in
                pieces.randomElement(using: &generator) ?? []
            }
            var position = 0
            while position < text.count {
                let expected = program.match(text, 0, text.count, at: position)
                let end = scanner.wordEnd(text, position, text.count, .shared)
                if end != expected {
                    Issue.record("\(text) at \(position): \(end), the pattern says \(String(describing: expected))")
                    return
                }
                position = end
            }
        }
    }
}
