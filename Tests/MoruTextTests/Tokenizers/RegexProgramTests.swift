import MoruBase
import Testing

@testable import MoruText

@Suite struct RegexProgramTests {
    private func matches(_ pattern: String, _ text: String) throws -> [String] {
        let program = try RegexProgram(pattern)
        return Array(text.utf8).withUnsafeBufferPointer { text in
            guard let bytes = text.baseAddress else { return [] }
            var found: [String] = []
            var position = 0
            var search = RegexSearch(program, bytes, 0, text.count)
            while let match = search.next(from: position) {
                // Without backtracking there is the same match
                let table = RegexTable(program, bytes, 0, text.count, from: match.start)
                #expect(table.match(at: match.start) == match.end)
                found.append(String(decoding: text[match.start..<match.end], as: UTF8.self))
                position = match.end
            }
            return found
        }
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
        let run = [UInt8](repeating: 0x61, count: 64)
        try run.withUnsafeBufferPointer { text in
            var search = RegexSearch(
                try RegexProgram("(?:a|a)+b"), try #require(text.baseAddress), 0, text.count)
            #expect(search.match(at: 0) == nil)
            #expect(search.usesTable)
        }
        // Matches that backtracking finds only after more steps than there are in a lifetime
        let program = try RegexProgram(#"(?:a|a)+c|(?:(?:a|a)+?b)++(?!b)|(?:a|aa)+\z"#)
        try (run + [0x62] + run).withUnsafeBufferPointer { text in
            var search = RegexSearch(program, try #require(text.baseAddress), 0, text.count)
            #expect(search.next(from: 0).map { [$0.start, $0.end] } == [0, 65])
            #expect(search.next(from: 65).map { [$0.start, $0.end] } == [65, 129])
            #expect(search.usesTable && search.next(from: 129) == nil)
        }
        // And all matches of a long text that takes backtracking a square of its length
        let longer = try RegexProgram("a*b|a")
        try [UInt8](repeating: 0x61, count: 20_000).withUnsafeBufferPointer { text in
            var search = RegexSearch(longer, try #require(text.baseAddress), 0, text.count)
            var count = 0
            while let match = search.next(from: count), match == (count, count + 1) { count += 1 }
            #expect(count == text.count && search.usesTable)
        }
    }

    /// Patterns and texts at random: each match is that of backtracking, where that comes to an end.
    @Test func aTableGivesTheMatchesOfBacktracking() throws {
        var generator = SystemRandomNumberGenerator()
        func random(_ depth: Int) -> String {
            let sets = ["a", "b", "[ab]", "[^a]", ".", "é", #"\s"#, " "]
            let places = [#"\A"#, #"\z"#, "(?<=a)", "(?<!b)", "(?=a|b)", "(?!b)", #"(?!\S)"#, "(?=a+?b)"]
            let counts = ["*", "+", "?", "*?", "+?", "??", "*+", "++", "?+", "{2}", "{1,3}", "{0,2}", "{2,}"]
            switch Int.random(in: 0...(depth > 3 ? 2 : 7), using: &generator) {
            case 0...1: return sets.randomElement(using: &generator) ?? "a"
            case 2:
                return (sets.randomElement(using: &generator) ?? "a") + (counts.randomElement(using: &generator) ?? "")
            case 3: return random(depth + 1) + random(depth + 1)
            case 4: return "(?:\(random(depth + 1))|\(random(depth + 1)))"
            case 5: return "(?:\(random(depth + 1)))" + (counts.randomElement(using: &generator) ?? "")
            case 6: return "(?>\(random(depth + 1)))" + random(depth + 1)
            default: return (places.randomElement(using: &generator) ?? "") + random(depth + 1)
            }
        }
        let pieces = ["a", "a", "b", "é", " ", "\n"].map { Array($0.utf8) } + [[0xC3]]
        var count = 0
        for _ in 0..<3000 {
            let pattern = random(0)
            guard let program = try? RegexProgram(pattern) else { continue }
            count += 1
            let bytes = (0..<Int.random(in: 1...12, using: &generator)).flatMap { _ in
                pieces.randomElement(using: &generator) ?? []
            }
            let difference = bytes.withUnsafeBufferPointer { text -> Int? in
                guard let base = text.baseAddress else { return nil }
                let table = RegexTable(program, base, 0, text.count, from: 0)
                return (0...text.count).first { position in
                    var steps = 100_000
                    let expected = program.match(base, 0, text.count, at: position, steps: &steps)
                    return steps >= 0 && table.match(at: position) != expected
                }
            }
            if let difference {
                Issue.record("\(pattern) over \(bytes) at \(difference)")
                return
            }
        }
        #expect(count > 1000)
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
                var steps = Int.max
                let expected = program.match(text, 0, text.count, at: position, steps: &steps)
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
