import MoruBase
import MoruTestKit
import Testing

@testable import MoruTrust

@Suite struct AnswerTests {
    @Test func formsOfAnAnswer() {
        let lines = AnswerFields(" sentiment: negative\n\ntopic: returns \n")
        #expect(lines?.value(of: "Sentiment") == "negative" && lines?.value(of: "topic") == "returns")
        #expect(lines?.isBare == false && lines?.fields.map(\.name) == ["sentiment", "topic"])
        #expect(AnswerFields(#"{"a": "x", "b": 2, "c": true}"#)?.fields.map(\.value) == ["x", "2", "true"])
        let bare = AnswerFields(" positive\n")
        #expect(bare?.isBare == true && bare?.value(of: "label") == "positive")
        #expect(AnswerFields("time: 12:30")?.value(of: "time") == "12:30")
    }

    @Test(arguments: [
        "", " \n", "I am sorry to hear that. Could you tell me more about it, please?",
        "one thing: and another\nno colon here", #"{"a": {"b": 1}}"#, #"{"a": null}"#, "{}", "name:\nother: x",
    ])
    func noAnswerOfLabels(text: String) {
        #expect(AnswerFields(text) == nil)
    }

    @Test func equalityIsThatOfNamesAndValues() {
        #expect(AnswerFields("a: x\nb: y") == AnswerFields(#"{"a": "x", "b": "y"}"#))
        #expect(AnswerFields("a: x\nb: y") != AnswerFields("b: y\na: x"))
        #expect(Set([AnswerFields("a: x"), AnswerFields("a:  x ")]).count == 1)
    }

    @Test(arguments: [
        ("sentiment: negative\ntopic: returns", "negative"),
        ("Sentiment: NEGATIVE.", "negative"),
        ("The sentiment is clearly negative, and the topic is returns.", "negative"),
        ("This sounds negative to me.", "negative"),
        ("sentiment: positive, negative or neutral", "positive"),
        ("sentiment: mixed\ntopic: positive", nil),
        ("It could be positive or negative.", nil),
        ("nonnegative", nil),
        ("", nil),
        (#"{"sentiment": "neutral"}"#, "neutral"),
        ("```json\n{\"sentiment\": \"neutral\"}\n```", "neutral"),
        ("Neutral", "neutral"),
    ])
    func readsWhatAModelMeans(answer: String, expected: String?) {
        let reader = LabelReader(name: "sentiment", values: ["negative", "neutral", "positive"])
        #expect(reader.read(answer) == expected)
    }

    @Test("labels of the same values are told apart by their names")
    func sameValues() {
        let answer = "refund: maybe\nurgent: yes"
        #expect(LabelReader(name: "refund", values: ["no", "yes"]).read(answer) == nil)
        #expect(LabelReader(name: "urgent", values: ["no", "yes"]).read(answer) == "yes")
    }

    @Test(
        "values that only punctuation tells apart are read exactly or not at all",
        arguments: [
            ("C++", "C++"), ("c#", "C#"), ("c", "C"), ("It is C++.", nil), ("Rust!", "Rust"), ("👍", "👍"), ("👎", nil),
            ("-1", "-1"), ("1", "1"), ("+", nil),
        ] as [(String, String?)])
    func punctuation(answer: String, expected: String?) {
        let reader = LabelReader(name: "label", values: ["-1", "1", "C", "C#", "C++", "Rust", "👍"])
        #expect(reader.read(answer) == expected)
    }

    @Test func theLongerOfTwoValuesAtOnePlace() {
        let reader = LabelReader(name: "visit", values: ["no", "no show", "yes"])
        #expect(reader.read("The visit was a no show.") == "no show")
        #expect(reader.read("visit: no") == "no")
    }

    @Test("any answer is read, and what is read is a known value")
    func fuzz() {
        var random = SplitMix64(seed: 11)
        let parts = [
            "sentiment", "Sentiment:", ":", "\n", "\r\n", " ", "positive", "neg", "negative", "{", "}", "\"", ",", "[",
            "]",
            "null", "\u{301}", "한국어", "👩‍👩‍👧", "\u{0}", "\\u", "1e999", "-", "label", "\u{FEFF}", "ß", "İ", "\u{2028}",
        ]
        let values = ["negative", "positive", "ı", "", "👍", "no show"]
        let readers = ["sentiment", "label", "", "::"].map { LabelReader(name: $0, values: values) }
        var known = 0
        for _ in 0..<3000 {
            let answer = (0..<Int(random.next() % 14)).map { _ in parts[Int(random.next() % UInt64(parts.count))] }
                .joined()
            if let fields = AnswerFields(answer) {
                #expect(!fields.fields.isEmpty && fields == AnswerFields(answer))
                #expect(!fields.isBare || fields.fields.count == 1)
            }
            for reader in readers {
                guard let value = reader.read(answer) else { continue }
                known += 1
                #expect(values.contains(value), "\(answer)")
            }
        }
        #expect(known > 500)
    }
}
