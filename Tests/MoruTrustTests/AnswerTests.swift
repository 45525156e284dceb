import MoruBase
import Testing

@testable import MoruTrust

@Suite struct AnswerTests {
    @Test func formsOfAnAnswer() {
        let lines = AnswerFields(" sentiment: negative\n\ntopic: returns \n")
        #expect(lines?.value(of: "Sentiment") == "negative" && lines?.value(of: "topic") == "returns")
        #expect(AnswerFields(#"{"a": "x", "b": 2}"#)?.value(of: "b") == "2")
        #expect(AnswerFields("positive")?.value(of: "label") == "positive")
        #expect(AnswerFields("I am sorry to hear that. Could you tell me more about it, please?") == nil)
        #expect(AnswerFields("one thing: and another\nno colon here") == nil)
        #expect(AnswerFields("") == nil || AnswerFields("")?.value(of: "label") == "")
    }

    @Test(arguments: [
        ("sentiment: negative\ntopic: returns", "negative"),
        ("Sentiment: NEGATIVE.", "negative"),
        ("The sentiment is clearly negative, and the topic is returns.", "negative"),
        ("This sounds negative to me.", "negative"),
        ("sentiment: positive, negative or neutral", "positive"),
        ("It could be positive or negative.", nil),
        ("nonnegative", nil),
        ("", nil),
        (#"{"sentiment": "neutral"}"#, "neutral"),
    ])
    func readsWhatAModelMeans(answer: String, expected: String?) {
        let reader = LabelReader(name: "sentiment", values: ["negative", "neutral", "positive"])
        #expect(reader.read(answer) == expected)
    }
}
