import MoruBase
import MoruTestKit
import Testing

@testable import MoruText

/// What a grammar allows of a vocabulary of longer tokens.
struct TokenGrammarTests {
    @Test func scalarRangesAsUTF8() {
        for (low, high) in [
            (0x20, 0x7E), (0x7F, 0x800), (0x3B1, 0x3C9), (0xD000, 0xE100), (0xFFF0, 0x1F60F), (0, 0x10FFFF),
        ]
            as [(UInt32, UInt32)]
        {
            let set = ScalarRanges([low...high])
            let sequences = set.utf8Sequences
            let samples = [low, low + 1, (low + high) / 2, high - 1, high] + stride(from: 0, to: 0x110000, by: 997)
            for scalar in samples.compactMap(Unicode.Scalar.init) {
                let bytes = Array(String(scalar).utf8)
                let count = sequences.count { sequence in
                    sequence.count == bytes.count && zip(sequence, bytes).allSatisfy { $0.contains($1) }
                }
                #expect(count == (set.contains(scalar.value) ? 1 : 0), "\(scalar.value) in \(low)...\(high)")
            }
        }
    }

    /// The search through the vocabulary's tree must find what trying every token finds.
    @Test func masksAgreeWithTryingEveryToken() throws {
        var generator = SplitMix64(seed: 5)
        let alphabet = Array("{}[]\",:0123456789.-eabnultrfse é\n".utf8)
        var tokens: [[UInt8]] = (0..<256).map { [UInt8($0)] }
        for _ in 0..<1500 {
            let length = Int(generator.next() % 6)
            tokens.append((0..<length).map { _ in alphabet[Int(generator.next() % UInt64(alphabet.count))] })
        }
        let trie = TokenTrie(tokens)
        #expect(Self.tokens(of: trie) == tokens)
        let schema: JSON = [
            "type": "object", "required": ["ab"],
            "properties": ["ab": ["type": "array", "items": ["type": "number"]], "é": ["type": "boolean"]],
        ]
        let grammar = try TokenGrammar(Grammar(jsonSchema: schema), trie)
        var (steps, matcher) = (0, grammar.matcher())
        while !matcher.mustEnd, steps < 25 {
            let mask = try matcher.allowed()
            for id in tokens.indices {
                var copy = matcher
                let isAllowed = copy.accept(Int32(id))
                #expect(isAllowed == mask[id], "token \(id) after \(String(decoding: matcher.bytes, as: UTF8.self))")
            }
            let ids = mask.ids
            try #require(!ids.isEmpty)
            matcher.accept(Int32(ids[Int(generator.next() % UInt64(ids.count))]))
            steps += 1
        }
    }

    /// What does not fit into the memory, with nothing else there, is refused.
    @Test func tooManyWaysToReadATextAreAnError() throws {
        let trie = TokenTrie((0..<200).map { number in Array(String(number, radix: 2).utf8) })
        let grammar = try Grammar(regex: "[01]{0,4}1[01]{9}")
        let enough = TokenGrammar(try GrammarAutomaton(grammar), trie)
        #expect(try enough.matcher().allowed().ids == Array(0..<200))
        let few = TokenGrammar(try GrammarAutomaton(grammar, maximumStates: 10), trie)
        let error = #expect(throws: MoruError.self) { try few.matcher().allowed() }
        #expect(error?.code == .grammarTooLarge && error?.remedy != nil)
    }

    /// What is not known at once is looked for elsewhere, and gives the same.
    @Test func aFollowerGivesWhatAMatcherGives() throws {
        let trie = TokenTrie((0..<300).map { number in Array(String(number, radix: 3).utf8) })
        func grammar() throws -> TokenGrammar { try TokenGrammar(Grammar(regex: "(?:[01]+2){3}"), trie) }
        var matcher = try grammar().matcher()
        let start = try grammar().matcher()
        start.queue.suspend()
        let follower = GrammarFollower(start)
        #expect(try follower.step(until: .now()) == nil && !follower.isReady && follower.mustEnd == false)
        start.queue.resume()
        var generator = SystemRandomNumberGenerator()
        while true {
            let step = try #require(try follower.step(until: .distantFuture))
            #expect(try step.allowed == matcher.allowed() && step.mustEnd == matcher.mustEnd)
            #expect(step.mayEnd == matcher.mayEnd && follower.bytes == matcher.bytes)
            if step.mustEnd { break }
            let id = Int32(try #require(step.allowed.ids.randomElement(using: &generator)))
            matcher.accept(id)
            follower.accept(id)
        }
        #expect(matcher.bytes.count { $0 == UInt8(ascii: "2") } == 3)
    }

    /// The tokens that a tree's nodes spell.
    private static func tokens(of trie: TokenTrie) -> [[UInt8]] {
        var (result, path) = ([[UInt8]](repeating: [], count: trie.vocabularySize), [UInt8]())
        for node in trie.nodes {
            path.removeLast(path.count - Int(node.depth))
            path.append(node.byte)
            for place in node.tokens { result[Int(trie.ids[Int(place)])] = path }
        }
        return result
    }

    @Test func masks() {
        var mask = TokenMask(count: 70)
        for id in [0, 63, 64, 69] { mask.insert(id) }
        #expect(mask.ids == [0, 63, 64, 69] && mask[64] && !mask[65] && !mask[700] && !mask.isEmpty)
        var numbers = [Float](repeating: 1, count: 75)
        numbers.withUnsafeMutableBufferPointer { mask.replaceOthers(in: $0, with: -1) }
        #expect(numbers.indices.filter { numbers[$0] == 1 } == [0, 63, 64, 69])
    }
}
