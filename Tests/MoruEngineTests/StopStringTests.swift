import MoruTensor
import Testing

@testable import MoruEngine

@Suite("Stop strings")
struct StopStringTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var stops: [String]
        var pieces: [String]
        /// What each piece releases, and the end.
        var released: [String]
        var found: String?
        var testDescription: String { "\(stops) in \(pieces)" }
    }

    @Test(
        "the table",
        arguments: [
            Case(stops: [], pieces: ["a", "b"], released: ["a", "b", ""]),
            Case(stops: ["END"], pieces: ["say END now"], released: ["say ", ""], found: "END"),
            // across pieces, held back while it may still become one
            Case(stops: ["END"], pieces: ["say E", "N", "D now"], released: ["say ", "", "", ""], found: "END"),
            Case(stops: ["END"], pieces: ["say E", "N", "d now"], released: ["say ", "", "ENd now", ""]),
            // held back to the end, which shows that it was none
            Case(stops: ["END"], pieces: ["the EN"], released: ["the ", "EN"]),
            // only the longest suffix that is a beginning is held back
            Case(stops: ["aab"], pieces: ["aaa", "b"], released: ["a", "", ""], found: "aab"),
            Case(stops: ["abab"], pieces: ["ababa"], released: ["", ""], found: "abab"),
            // the one that is complete first, whichever began first
            Case(stops: ["abcd", "bc"], pieces: ["xabcd"], released: ["xa", ""], found: "bc"),
            Case(stops: ["abcd", "bc"], pieces: ["xa", "b", "cd"], released: ["x", "", "a", ""], found: "bc"),
            // complete at once: the longer
            Case(stops: ["c", "bc"], pieces: ["abc"], released: ["a", ""], found: "bc"),
            Case(
                stops: ["\n\n"], pieces: ["one\n", "two\n", "\nthree"], released: ["one", "\ntwo", "", ""],
                found: "\n\n"),
            // bytes decide, not canonical equivalence: e with an accent is not e and a combining accent
            Case(stops: ["é"], pieces: ["cafe\u{301}"], released: ["cafe\u{301}", ""]),
            Case(stops: ["👍"], pieces: ["gut 👍 ja"], released: ["gut ", ""], found: "👍"),
            // characters that share their first bytes with a stop string are never torn
            Case(stops: ["👍"], pieces: ["👎👍"], released: ["👎", ""], found: "👍"),
            Case(stops: ["모루"], pieces: ["모", "든 모", "루"], released: ["", "모든 ", "", ""], found: "모루"),
            Case(stops: ["x"], pieces: ["axb", "more"], released: ["a", "", ""], found: "x"),
        ])
    func table(one: Case) {
        var matcher = StopStringMatcher(one.stops)
        var released: [String] = []
        for piece in one.pieces { released.append(matcher.append(piece)) }
        released.append(matcher.finish())
        #expect(released == one.released)
        #expect(matcher.found == one.found)
    }

    @Test("the pieces make no difference, and nothing is lost or invented", arguments: 0..<60)
    func pieces(seed: Int) {
        var random = RandomGenerator(seed: UInt64(seed))
        let letters = ["a", "b", "ab", "é", "e"]
        func text(_ count: Int) -> String {
            (0..<count).map { _ in letters[Int.random(in: 0..<letters.count, using: &random)] }.joined()
        }
        let stops = (0..<Int.random(in: 1...3, using: &random)).map { _ in text(Int.random(in: 1...4, using: &random)) }
        let whole = text(25)
        // The long way: the first end at which some stop string is complete.
        let scalars = Array(whole.unicodeScalars)
        var expected = whole
        var found: String?
        search: for end in 1...scalars.count {
            for stop in stops.sorted(by: { $0.utf8.count > $1.utf8.count }) {
                let wanted = Array(stop.unicodeScalars)
                if scalars[..<end].suffix(wanted.count).elementsEqual(wanted) {
                    var kept = String.UnicodeScalarView()
                    kept.append(contentsOf: scalars[..<(end - wanted.count)])
                    (expected, found) = (String(kept), stop)
                    break search
                }
            }
        }
        for _ in 0..<5 {
            var matcher = StopStringMatcher(stops)
            var released = ""
            var rest = scalars[...]
            while !rest.isEmpty {
                let count = min(rest.count, Int.random(in: 1...6, using: &random))
                var piece = String.UnicodeScalarView()
                piece.append(contentsOf: rest.prefix(count))
                rest = rest.dropFirst(count)
                released += matcher.append(String(piece))
            }
            released += matcher.finish()
            #expect(Array(released.utf8) == Array(expected.utf8) && matcher.found == found)
        }
    }
}
