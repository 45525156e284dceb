import MoruBase
import MoruModels
import MoruTestKit
import MoruText
import Testing

@testable import MoruEngine

/// Answers of a random model, which keep to a form for no other reason than the grammar.
struct StructuredOutputTests {
    private static let schema: JSON = [
        "type": "object", "required": ["name", "rank"], "additionalProperties": false,
        "properties": [
            "name": ["type": "string", "maxLength": 6], "rank": ["type": "integer", "minimum": 100, "maximum": 250],
            "tags": ["type": "array", "items": ["enum": ["a", "b"]], "maxItems": 3],
        ],
    ]

    private func options(_ seed: UInt64, _ structure: StructuredOutput, temperature: Float = 1) -> GenerationOptions {
        GenerationOptions(temperature: temperature, seed: seed, maximumTokens: 400, structure: structure)
    }

    @Test func answersKeepToTheirForm() async throws {
        let generator = try TextGenerator(TestModels.tinyPretrained(contextLength: 512))
        let forms: [StructuredOutput] = [
            .jsonSchema(Self.schema), .regex("[a-f]{4}(?:-[0-9]{2})+;"), .choice(["yes", "no", "perhaps"]),
            .gbnf("root ::= \"(\" (root \" \"){0,2} \")\""),
        ]
        // Together, with grammars and without
        let prompts: [(prompt: Prompt, options: GenerationOptions)] = (0..<12).map { seed in
            let form: StructuredOutput? = seed % 3 == 2 ? nil : forms[seed % 4]
            var options = options(UInt64(seed), forms[0])
            (options.structure, options.maximumTokens) = (form, form == nil ? 20 : 400)
            return (.text("Prompt \(seed % 5)"), options)
        }
        let together = try await generator.generateAll(prompts)
        for (answer, (prompt, options)) in zip(together, prompts) {
            let alone = try await generator.generate(prompt, options)
            #expect(alone.text == answer.text && alone.finishReason == answer.finishReason)
            guard let form = options.structure else { continue }
            guard answer.finishReason.name == "stop" else { continue }
            switch form {
            case .jsonSchema:
                let value = try JSON.parse(answer.text, source: "answer")
                #expect((value["name"]?.string?.unicodeScalars.count ?? 9) <= 6, "\(answer.text)")
                #expect(100...250 ~= value["rank"]?.int ?? 0, "\(answer.text)")
            case .choice(let texts): #expect(texts.contains(answer.text))
            case .regex: #expect(answer.text.wholeMatch(of: /[a-f]{4}(?:-[0-9]{2})+;/) != nil, "\(answer.text)")
            default: #expect(answer.text.count { $0 == "(" } == answer.text.count { $0 == ")" }, "\(answer.text)")
            }
        }
        #expect(together.count { $0.finishReason == .complete } > 2)
    }

    /// A guess that the grammar does not allow is never taken.
    @Test func speculationChangesNothing() async throws {
        let pretrained = try TestModels.tinyPretrained(contextLength: 512)
        let form = StructuredOutput.regex("(?:ab|ba|cd){30}")
        var answers: [String] = []
        for speculation in [Speculation.off, .lookup] {
            let generator = try TextGenerator(
                pretrained, configuration: EngineConfiguration(speculation: speculation))
            let prompt = Prompt.text(String(repeating: "abbacdxy", count: 12))
            answers.append(try await generator.generate(prompt, options(0, form, temperature: 0)).text)
        }
        #expect(answers[0] == answers[1] && answers[0].count == 60, "\(answers)")
    }

    /// Where it takes long to find out what a grammar allows, nobody else waits, and nothing else is answered.
    @Test func othersGoOnWhileAGrammarTakesLong() async throws {
        let form = StructuredOutput.regex("(?:ab|ba|cd){5}")
        var plain = options(4, form)
        (plain.structure, plain.maximumTokens) = (nil, 20)
        let model = try TestModels.tinyPretrained(contextLength: 512)
        let reference = try TextGenerator(model)
        let expected = (try await reference.generate("x", options(3, form)), try await reference.generate("y", plain))
        for speculation in [Speculation.off, .lookup] {
            let generator = try TextGenerator(model, configuration: EngineConfiguration(speculation: speculation))
            let engine = generator.engine
            let queue = try generator.matcher(for: form).queue
            queue.suspend()
            let waiting = Task { try await generator.generate("x", options(3, form)) }
            let leaving = Task { try await generator.generate("x", options(3, form)) }
            while engine.observation.statistics.running < 2 { try await Task.sleep(for: .milliseconds(2)) }
            #expect(try await generator.generate("y", plain).text == expected.1.text)
            #expect(engine.observation.statistics.generatedTokens == 20)
            leaving.cancel()
            _ = await leaving.result
            while await engine.statistics.running > 1 { try await Task.sleep(for: .milliseconds(2)) }
            queue.resume()
            let answer = try await waiting.value
            #expect(answer.text == expected.0.text && answer.finishReason == expected.0.finishReason)
            #expect(await engine.statistics.running == 0)
        }
    }

    @Test func whatCannotBeWrittenIsAnError() async throws {
        let generator = try TextGenerator(TestModels.tinyPretrained(contextLength: 256))
        await #expect(throws: MoruError.self) {
            _ = try await generator.generate("x", options(0, .jsonSchema(["not": true])))
        }
        // The end token alone fits
        let empty = try await generator.generate("x", options(0, .choice([""])))
        #expect(empty.text.isEmpty && empty.finishReason.name == "stop")
    }
}
