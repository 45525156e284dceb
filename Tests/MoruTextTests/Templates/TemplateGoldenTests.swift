import Foundation
import MoruBase
import Testing

@testable import MoruText

/// Outputs of jinja2 as transformers sets it up, written by `scripts/goldens/templates.py`.
enum TemplateGoldens {
    static let folder = (#filePath as NSString).deletingLastPathComponent + "/Goldens"
    /// Noon, so that the date is the same in every time zone that is within eleven hours of UTC.
    static let now = Date(timeIntervalSince1970: 1_721_994_896)

    static func json(_ name: String) throws -> JSON {
        try JSON.parse(file: "\(folder)/\(name)")
    }

    static func template(_ name: String) throws -> ChatTemplate {
        try ChatTemplate(try FileSystem.readText("\(folder)/\(name).jinja"), name: name)
    }

    static let conversations = Result { try json("conversations.json") }
    static let expressions = Result { try json("expressions.json") }

    /// What a rendering came to, in the form of the golden files.
    static func outcome(_ body: () throws(MoruError) -> String) -> JSON {
        do throws(MoruError) {
            return ["output": .string(try body())]
        } catch {
            return error.code == .templateRaised ? ["raised": .string(error.message)] : ["fails": .string("\(error)")]
        }
    }

    /// Whether a rendering came to what was expected; any typed error will do for any of Python's.
    static func agrees(_ found: JSON, _ expected: JSON) -> Bool {
        if let output = expected["output"]?.string { return found["output"]?.string.map { same($0, output) } ?? false }
        if let raised = expected["raised"]?.string { return found["raised"]?.string.map { same($0, raised) } ?? false }
        return found["fails"] != nil
    }

    static func same(_ a: String, _ b: String) -> Bool { a.utf8.elementsEqual(b.utf8) }

    /// The arguments of `ChatTemplate.render` for a case of the golden file.
    static func arguments(_ item: JSON, tokens: JSON) throws -> (
        messages: [ChatMessage], tools: [JSON]?, extra: JSONObject
    ) {
        let messages = try (item["messages"]?.array ?? []).map { try ChatMessage(json: $0) }
        var extra = tokens.object ?? JSONObject()
        for (key, value) in (item["extra"]?.object ?? JSONObject()).members { extra[key] = value }
        return (messages, item["tools"]?.array, extra)
    }

    static func render(_ template: ChatTemplate, _ item: JSON, tokens: JSON) throws -> JSON {
        let (messages, tools, extra) = try arguments(item, tokens: tokens)
        return outcome { () throws(MoruError) in
            try template.render(
                messages: messages, addGenerationPrompt: item["prompt"]?.bool ?? false, tools: tools, extra: extra,
                now: now)
        }
    }
}

@Suite struct TemplateGoldenTests {
    @Test func conversations() throws {
        let goldens = try TemplateGoldens.conversations.get()
        let tokens = goldens["tokens"] ?? [:]
        let cases = goldens["cases"]?.array ?? []
        var checked = 0
        for expected in goldens["expected"]?.array ?? [] {
            let name = expected["template"]?.string ?? ""
            guard let item = cases.first(where: { $0["name"] == expected["case"] }) else {
                Issue.record("no case \(expected["case"]?.string ?? "")")
                continue
            }
            let found = try TemplateGoldens.render(try TemplateGoldens.template(name), item, tokens: tokens)
            #expect(
                TemplateGoldens.agrees(found, expected),
                "\(name), \(item["name"]?.string ?? ""): \(found.text()) instead of \(expected.text())")
            checked += 1
        }
        #expect(checked >= 250)
    }

    @Test func expressions() throws {
        let goldens = try TemplateGoldens.expressions.get()
        let variables = goldens["variables"]?.object ?? JSONObject()
        let cases = goldens["cases"]?.array ?? []
        for item in cases {
            let source = item["source"]?.string ?? ""
            let found = TemplateGoldens.outcome { () throws(MoruError) in
                try ChatTemplate(source).render(variables, now: TemplateGoldens.now)
            }
            #expect(
                TemplateGoldens.agrees(found, item), "\(source)\n found \(found.text())\n wanted \(item.text())")
        }
        #expect(cases.count >= 400)
    }

    @Test func generationBlocks() throws {
        let goldens = try TemplateGoldens.conversations.get()
        let marked = goldens["marked"]?.array ?? []
        for expected in marked {
            let name = expected["template"]?.string ?? ""
            let item = try #require(goldens["cases"]?.array?.first { $0["name"] == expected["case"] })
            let (messages, tools, extra) = try TemplateGoldens.arguments(item, tokens: goldens["tokens"] ?? [:])
            let found = try TemplateGoldens.template(name).renderConversation(
                messages: messages, tools: tools, extra: extra, now: TemplateGoldens.now)
            let ranges = found.assistantRanges.map { JSON.array([.int($0.lowerBound), .int($0.upperBound)]) }
            #expect(found.text == expected["text"]?.string)
            #expect(JSON.array(ranges) == expected["ranges"])
        }
        #expect(marked.count >= 10)
    }
}
