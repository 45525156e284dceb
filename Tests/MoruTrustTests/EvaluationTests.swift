import Foundation
import MoruBase
import MoruEngine
import MoruModels
import MoruTestKit
import MoruText
import MoruTraining
import MoruTrust
import Synchronization
import Testing

@Suite("Evaluation")
struct EvaluationTests {
    private static let references = [
        "sentiment: negative\ntopic: returns", "sentiment: positive\ntopic: support",
        "sentiment: neutral\ntopic: returns", "sentiment: positive\ntopic: support",
    ]
    private static let answers = [
        "sentiment: negative\ntopic: returns", "It is positive about support.",
        "sentiment: negative\ntopic: returns", "I cannot say.",
    ]

    @Test("known answers give known figures")
    func endToEnd() async throws {
        let done = Mutex<[Int]>([])
        let evaluation = Evaluation(
            try TrustFixtures.scripted(Self.answers), try TrustFixtures.examples(Self.references),
            metrics: [.wer, .bleu])
        let report = try await evaluation.run { progress in
            #expect(progress.total == 4)
            done.withLock { $0.append(progress.done) }
        }
        #expect(done.withLock { $0.sorted() } == [1, 2, 3, 4])
        #expect(report.outcomes.map(\.answer) == Self.answers)
        #expect(report.outcomes.map(\.reference) == Self.references)
        #expect(report.outcomes.map(\.question) == (0..<4).map { TrustFixtures.prompt($0) })
        #expect(report.outcomes.map(\.isExact) == [true, false, false, false] && report.exactMatch == 0.25)
        #expect(report.outcomes[1].predictions == ["sentiment": "positive", "topic": "support"])
        #expect(report.outcomes[3].predictions.isEmpty)
        let sentiment = try #require(report.labels.first)
        #expect(report.labels.map(\.name) == ["sentiment", "topic"])
        #expect(sentiment.values == ["negative", "neutral", "positive"])
        #expect(sentiment.confusion == [[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1]])
        #expect(report.labels[1].confusion == [[2, 0, 0], [0, 1, 1]])
        // The second answer is 4 edits from its reference (one word is in place), the third 1, the fourth 4
        #expect(report.texts.map(\.metric) == [.wer, .bleu] && report.texts[0].value == 9.0 / 16)
        let interval = try #require(report.exactMatchInterval)
        #expect(interval.lower == 0 && (0.5...1).contains(interval.upper))
        let accuracy = try #require(sentiment.figure("accuracy")?.interval)
        #expect(accuracy.lower <= sentiment.accuracy && sentiment.accuracy <= accuracy.upper)
        #expect(report.generatedTokens == Self.answers.reduce(0) { $0 + $1.utf8.count })
        #expect(report.promptTokens == TrustFixtures.stride * (1 + 2 + 3 + 4) && report.seconds > 0)

        // The script's token has a logit of 20, every other 0; it is compared with the reference and its end
        let normalizer = log(exp(20) + 258.0)
        let (hits, tokens) = zip(Self.references, Self.answers).reduce((0, 0)) { sum, pair in
            let (right, said) = (Array(pair.0.utf8), Array(pair.1.utf8))
            let equal = right.indices.count { $0 < said.count && right[$0] == said[$0] }
            return (sum.0 + equal + (right.count >= said.count ? 1 : 0), sum.1 + right.count + 1)
        }
        let expected = Double(tokens) * normalizer - Double(hits) * 20
        #expect(report.perplexity.tokens == tokens)
        let bytes = Double(tokens - Self.references.count)
        #expect(abs(report.bitsPerByte - report.perplexity.negativeLogLikelihood / log(2) / bytes) < 1e-9)
        #expect(abs(report.perplexity.negativeLogLikelihood - expected) < 1e-4 * expected)
        #expect(report.outcomes.map(\.score.tokens) == Self.references.map { $0.utf8.count + 1 })

        // Every token of an answer, and its end, has the same probability
        let logProbability = 20 - normalizer
        for outcome in report.outcomes {
            let confidence = exp(Double(outcome.answer.utf8.count + 1) * logProbability)
            #expect(abs((outcome.confidence ?? 0) - confidence) < 1e-4)
        }
        #expect(report.calibration?.bins.map(\.count) == [4])
        // Every figure but those of time has an interval that holds it; nothing was ever called neutral
        for figure in report.figures where ![.seconds, .tokensPerSecond].contains(figure.kind.unit) {
            if figure.kind.name == "sentiment.neutral.precision" {
                #expect(figure.value == nil && figure.interval == nil)
                continue
            }
            let (value, interval) = (try #require(figure.value), try #require(figure.interval, "\(figure)"))
            #expect(interval.lower <= value && value <= interval.upper, "\(figure)")
        }
    }

    @Test func theReportAsJSONSurvivesARoundTrip() async throws {
        let report = try await Evaluation(
            try TrustFixtures.scripted(Self.answers), try TrustFixtures.examples(Self.references)
        ).run()
        let whole = report.json(includingOutcomes: true)
        let read = try JSON.parse(whole.text(pretty: true), source: "report")
        #expect(read == whole)
        #expect(read["examples"] == 4 && read["exact_match"] == 0.25)
        #expect(read["labels"]?["sentiment"]?["accuracy"] == 0.5)
        #expect(read["labels"]?["topic"]?["confusion"]?["counts"]?[1]?.ints == [0, 1, 1])
        #expect(read["labels"]?["topic"]?["confusion"]?["columns_predicted"]?[2] == "(none)")
        #expect(read["labels"]?["topic"]?["values"]?["support"]?["recall"] == 0.5)
        #expect(read["outcomes"]?[1]?["answer"] == "It is positive about support.")
        #expect(read["outcomes"]?[0]?["exact"] == true && read["outcomes"]?[2]?["exact"] == false)
        #expect(read["perplexity"]?.double == report.perplexity.value)
        #expect(report.json()["outcomes"] == nil && report.json()["scored_tokens"]?.int == report.perplexity.tokens)
    }

    @Test("the answer's length is limited")
    func maximumTokens() async throws {
        let evaluation = Evaluation(
            try TrustFixtures.scripted(["positive"]), try TrustFixtures.examples(["positive"]), maximumTokens: 3)
        let report = try await evaluation.run()
        #expect(report.outcomes[0].answer == "pos" && report.exactMatch == 0 && report.generatedTokens == 3)
    }

    @Test("an adapter acts on the answers and on the perplexity")
    func adapter() async throws {
        let pretrained = try TestModels.tinyPretrained(seed: nil)
        let adapter = try TrustFixtures.adapter(for: pretrained.model)
        let examples = try (0..<3).map {
            try EvaluationExample(.completion(prompt: "item \($0):", completion: " ok"), place: "d:\($0)")
        }
        let generator = try TextGenerator(pretrained)
        let plain = try await Evaluation(generator, examples, maximumTokens: 8).run()
        let adapted = try await Evaluation(generator, examples, adapter: adapter, maximumTokens: 8).run()
        let encoder = ExampleEncoder(pretrained)
        let expected = try Perplexity(
            of: pretrained.model, adapter: adapter, on: examples.map { try encoder.encode($0.scoring) })
        #expect(adapted.perplexity == expected && plain.perplexity != expected)
        for (index, outcome) in adapted.outcomes.enumerated() {
            let options = GenerationOptions(temperature: 0, maximumTokens: 8, adapter: adapter)
            #expect(try await generator.generate(.text("item \(index):"), options).text == outcome.answer)
        }
        #expect(adapted.outcomes.map(\.answer) != plain.outcomes.map(\.answer))
    }

    @Test("a conversation's tools are in the prompt")
    func tools() async throws {
        let template = try ChatTemplate(
            "{% if tools %}[{{ tools | length }} tools]{% endif %}{% for m in messages %}"
                + "{% if m.role == 'assistant' %}>{% endif %}{{ m.content }}<|im_end|>{% endfor %}"
                + "{% if add_generation_prompt %}>{% endif %}")
        let generator = try TrustFixtures.scripted(["x"], chatTemplate: template)
        let messages = [
            ChatMessage(role: "user", content: "abc"), ChatMessage(role: "assistant", content: "x"),
        ]
        var counts: [Int] = []
        for tools in [nil, [["name": "clock"]]] as [[JSON]?] {
            let example = try EvaluationExample(.messages(messages, tools: tools), place: "d:1")
            let report = try await Evaluation(generator, [example], maximumTokens: 1).run()
            #expect(report.outcomes[0].question == "abc")
            counts.append(report.promptTokens)
        }
        #expect(counts == [5, 5 + "[1 tools]".utf8.count])
    }

    @Test func labelsMayBeChosen() async throws {
        let generator = try TrustFixtures.scripted(Self.answers)
        let examples = try TrustFixtures.examples(Self.references)
        let report = try await Evaluation(generator, examples, labels: ["Topic"]).run()
        #expect(report.labels.map(\.name) == ["Topic"] && report.labels[0].accuracy == 0.75)
        let error = try await #require(throws: MoruError.self) {
            try await Evaluation(generator, examples, labels: ["topics"]).run()
        }
        #expect(error.code == .evaluationData && error.message.contains("\"topics\""))
        #expect(error.remedy?.contains("sentiment, topic") == true)
    }

    @Test("names in another case are one label")
    func namesInAnyCase() async throws {
        let references = ["Mood: good", "mood: bad"]
        let report = try await Evaluation(
            try TrustFixtures.scripted(["mood: good", "Mood: good"]), try TrustFixtures.examples(references)
        ).run()
        #expect(report.labels.map(\.name) == ["Mood"] && report.labels[0].values == ["bad", "good"])
        #expect(report.labels[0].confusion == [[0, 1, 0], [0, 1, 0]])
    }

    @Test(
        "free text gives no labels, bare labels do",
        arguments: [
            (["yes", "no"], ["label"]),
            (["yes", "A sentence that is far too long to be\nwith a second line."], []),
            ((0..<65).map { "answer \($0)" }, []),
        ])
    func freeText(references: [String], labels: [String]) async throws {
        let generator = try TrustFixtures.scripted(["yes"], contextLength: 4096)
        let examples = try references.enumerated().map { index, reference in
            try EvaluationExample(.completion(prompt: "q", completion: reference), place: "d:\(index)")
        }
        let report = try await Evaluation(generator, examples, maximumTokens: 2).run()
        #expect(report.labels.map(\.name) == labels && report.outcomes.count == references.count)
    }

    @Test func anExampleOverTheContextIsNamed() async throws {
        let examples = try TrustFixtures.examples(["ok", "ok", "ok"])
        for (context, words) in [(119, "a token to answer with take 121"), (121, "the right answer take 123")] {
            let generator = try TrustFixtures.scripted(["ok", "ok", "ok"], contextLength: context)
            let error = try await #require(throws: MoruError.self) { try await Evaluation(generator, examples).run() }
            #expect(error.code == .dataTooLong && error.message.hasPrefix("scripted.jsonl:3: "), "\(error)")
            #expect(error.message.contains(words) && error.remedy != nil, "\(error)")
        }
        let generator = try TrustFixtures.scripted(["ok", "ok", "ok"], contextLength: 123)
        #expect(try await Evaluation(generator, examples).run().exactMatch == 1)
    }

    @Test func withoutExamplesThereIsNothingToEvaluate() async throws {
        let generator = try TrustFixtures.scripted([])
        let error = try await #require(throws: MoruError.self) { try await Evaluation(generator, []).run() }
        #expect(error.code == .evaluationData && error.remedy != nil)
    }

    @Test("the real model answers the shipped data", .tags(.slow), .enabled(if: TestNeeds.smolLM2 != nil))
    func realModel() async throws {
        let pretrained = try PretrainedModel.load(try #require(TestNeeds.smolLM2))
        let data = (#filePath as NSString).deletingLastPathComponent + "/../../Examples/customer-feedback/test.jsonl"
        let examples = try EvaluationExample.read(data, limit: 4)
        let report = try await Evaluation(try TextGenerator(pretrained), examples, maximumTokens: 16).run()
        #expect(report.outcomes.count == 4 && report.labels.map(\.name) == ["sentiment", "topic"])
        #expect(report.outcomes.allSatisfy { !$0.answer.isEmpty } && report.labels.allSatisfy { $0.count == 4 })
        // Far better than guessing among 49152 tokens, and not perfect
        #expect(report.perplexity.value > 1.01 && report.perplexity.value < 100, "\(report.perplexity)")
        #expect(report.perplexity.tokens > 4 * 5 && report.tokensPerSecond > 0)
    }
}
