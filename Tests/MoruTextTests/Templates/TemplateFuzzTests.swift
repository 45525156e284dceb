import Foundation
import MoruBase
import Testing

@testable import MoruText

/// Mutated templates: each either renders or throws a typed error. Seeded, so that a failure comes back.
@Suite struct TemplateFuzzTests {
    private static let pieces = [
        "{{", "}}", "{%", "%}", "{#", "#}", "-%}", "{%-", "(", ")", "[", "]", "{", "}", "'", "\"", "\\", "|", ".", ",",
        ":", "=", "==", "~", "*", "**", "//", "%", " is ", " not ", " in ", " if ", " else ", "for ", "endfor", "set ",
        "macro ", "call ", "caller()", "loop", "namespace()", "range(9)", "messages", "[::-1]", "[1:]", "none", "true",
        "|tojson", "|join", "|map('upper')", "|list", "|first", "|sort", "|int", "|format(1)", ".items()", ".split()",
        ".format(1)", "0", "1e5", "-1", "9223372036854775807", "\n", " ", "\u{0}", "é", "👩‍👩‍👧", "\u{301}", "raw", "endraw",
        "recursive ", "{% generation %}", "{% endgeneration %}", "{% break %}", "loop(messages)", "'x' * 99999999",
    ]

    private func mutate(_ source: [Unicode.Scalar], _ random: inout SplitMix64) -> String {
        var scalars = source
        for _ in 0..<Int.random(in: 1...4, using: &random) where !scalars.isEmpty {
            let place = Int.random(in: 0..<scalars.count, using: &random)
            let end = min(scalars.count, place + Int.random(in: 0...12, using: &random))
            switch Int.random(in: 0..<4, using: &random) {
            case 0: scalars.removeSubrange(place..<end)
            case 1: scalars.insert(contentsOf: Self.pieces.randomElement(using: &random)!.unicodeScalars, at: place)
            case 2:
                let other = Int.random(in: 0..<scalars.count, using: &random)
                scalars.insert(contentsOf: scalars[place..<end], at: other)
            default:
                scalars.replaceSubrange(place..<end, with: Self.pieces.randomElement(using: &random)!.unicodeScalars)
            }
        }
        var text = ""
        text.unicodeScalars.append(contentsOf: scalars)
        return text
    }

    @Test func mutatedTemplates() throws {
        let goldens = try TemplateGoldens.conversations.get()
        let item = try #require(goldens["cases"]?.array?.first { $0["name"] == "tools" })
        let (messages, tools, extra) = try TemplateGoldens.arguments(item, tokens: goldens["tokens"] ?? [:])
        let names = Set((goldens["expected"]?.array ?? []).compactMap { $0["template"]?.string }).sorted()
        let sources = try names.map { Array(try TemplateGoldens.template($0).source.unicodeScalars) }
        let small = try TemplateGoldens.expressions.get()["cases"]?.array?.compactMap { $0["source"]?.string } ?? []
        let variables = try TemplateGoldens.expressions.get()["variables"]?.object ?? JSONObject()
        var random = SplitMix64(seed: 0x4D6F_7275)
        let deadline = Date().addingTimeInterval(6)
        var (rendered, refused) = (0, 0)
        for round in 0..<20_000 where Date() < deadline {
            do throws(MoruError) {
                if round % 2 == 0, let source = sources.randomElement(using: &random) {
                    let template = try ChatTemplate(mutate(source, &random))
                    _ = try template.render(
                        messages: messages, addGenerationPrompt: true, tools: tools, extra: extra,
                        now: TemplateGoldens.now)
                } else if let source = small.randomElement(using: &random) {
                    _ = try ChatTemplate(mutate(Array(source.unicodeScalars), &random)).render(variables)
                }
                rendered += 1
            } catch {
                #expect(error.code.name.hasPrefix("template."))
                refused += 1
            }
        }
        #expect(rendered > 20)
        #expect(refused > 20)
    }

    @Test func noise() {
        var random = SplitMix64(seed: 7)
        let deadline = Date().addingTimeInterval(2)
        for _ in 0..<5_000 where Date() < deadline {
            let count = Int.random(in: 1...30, using: &random)
            let source = (0..<count).map { _ in Self.pieces.randomElement(using: &random)! }.joined()
            do throws(MoruError) {
                _ = try ChatTemplate("{{ " + source).render(JSONObject([("messages", JSON.array(["a", "b"]))]))
            } catch {
                #expect(error.code.name.hasPrefix("template."))
            }
        }
    }
}
