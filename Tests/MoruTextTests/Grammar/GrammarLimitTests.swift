import MoruBase
import Testing

@testable import MoruText

/// Grammars come from requests: none may overflow the stack, or take more time or memory than its size deserves.
struct GrammarLimitTests {
    private static let null: JSON = ["type": "null"]

    private func fits(_ automaton: GrammarAutomaton, _ text: String) -> Bool {
        var automaton = automaton
        var state = automaton.start
        for byte in text.utf8 {
            state = automaton.step(state, byte)
            if state == GrammarAutomaton.dead { return false }
        }
        return automaton.mayEnd(state)
    }

    private func refusal(_ make: () throws -> Grammar) throws -> MoruError {
        try #require(throws: MoruError.self) { _ = try GrammarAutomaton(make()) }
    }

    /// A schema whose `$defs` are d0, d1... and which is the first of them.
    private func chain(_ count: Int, last: JSON, _ link: (JSON) -> JSON) -> JSON {
        let definitions = (0...count).map { number in
            ("d\(number)", number == count ? last : link(["$ref": .string("#/$defs/d\(number + 1)")]))
        }
        return ["$ref": "#/$defs/d0", "$defs": .object(JSONObject(definitions))]
    }

    @Test func longNamesAndListsNestNothing() throws {
        let name = String(repeating: "n", count: 10_000)
        let open = try GrammarAutomaton(
            Grammar(
                jsonSchema: [
                    "type": "object", "properties": .object(JSONObject([(name, Self.null)])),
                    "additionalProperties": ["type": "boolean"],
                ]))
        #expect(fits(open, "{\"\(name)\": null}") && fits(open, "{\"\(name)n\": true}"))
        #expect(fits(open, "{\"\(name.dropLast())\": true}") && fits(open, "{\"\": false}"))
        #expect(!fits(open, "{\"\(name)\": true}"))
        let list = try GrammarAutomaton(
            Grammar(
                jsonSchema: [
                    "type": "array", "prefixItems": .array(Array(repeating: Self.null, count: 30_000)),
                    "items": false, "minItems": 2,
                ]))
        let nulls = { "[" + Array(repeating: "null", count: $0).joined(separator: ",") + "]" }
        #expect(fits(list, nulls(2)) && fits(list, nulls(30_000)))
        #expect(!fits(list, nulls(1)) && !fits(list, nulls(30_001)))
    }

    @Test func schemasThatNestTooDeepAreRefused() throws {
        let links: [(JSON) -> JSON] = [
            { $0 }, { ["anyOf": [$0, Self.null]] }, { ["type": "array", "items": $0] },
            { ["type": "object", "properties": ["a": $0]] },
        ]
        for link in links {
            let error = try refusal { try Grammar(jsonSchema: chain(20_000, last: Self.null, link)) }
            #expect(error.code == .grammarTooLarge && error.message.contains("nested deeper"), "\(error)")
            _ = try GrammarAutomaton(Grammar(jsonSchema: chain(100, last: Self.null, link)))
        }
    }

    /// What merges a schema with one that contains it never comes to an end.
    @Test(
        arguments: [
            ["$ref": "#", "type": "object"],
            [
                "allOf": [["$ref": "#/$defs/a"], ["type": "object"]],
                "$defs": ["a": ["$ref": "#/$defs/a", "minLength": 1]],
            ],
            [
                "allOf": [["$ref": "#/$defs/a"], ["$ref": "#/$defs/b"]],
                "$defs": [
                    "a": ["properties": ["c": ["$ref": "#/$defs/a"]]],
                    "b": ["properties": ["c": ["$ref": "#/$defs/b"]]],
                ],
            ],
            [
                "oneOf": [["$ref": "#/$defs/a"], ["$ref": "#/$defs/b"]],
                "$defs": [
                    "a": ["type": "object", "properties": ["c": ["$ref": "#/$defs/a"]], "required": ["c"]],
                    "b": ["type": "object", "properties": ["c": ["$ref": "#/$defs/b"]], "required": ["c"]],
                ],
            ],
        ] as [JSON])
    func endlessSchemasAreRefused(schema: JSON) throws {
        #expect(try refusal { try Grammar(jsonSchema: schema) }.code == .grammarTooLarge)
    }

    @Test func schemasThatMultiplyAreRefused() throws {
        let twice = chain(60, last: Self.null) { next in
            let beside: JSON = ["$ref": next["$ref"] ?? nil, "type": ["object", "null"]]
            return ["type": "object", "properties": ["a": beside, "b": beside]]
        }
        #expect(try refusal { try Grammar(jsonSchema: twice) }.code == .grammarTooLarge)
        let branches = JSON.array((0..<4000).map { ["const": .int($0)] })
        #expect(try refusal { try Grammar(jsonSchema: ["oneOf": branches]) }.code == .grammarTooLarge)
    }

    /// In time that grows with their number, not its square.
    @Test(.timeLimit(.minutes(1))) func manyPropertiesAndRules() throws {
        let properties = JSONObject((0..<5000).map { ("p\($0)", Self.null) })
        let object = try GrammarAutomaton(
            Grammar(jsonSchema: ["type": "object", "properties": .object(properties), "required": ["p7"]]))
        #expect(fits(object, "{\"p7\":null, \"p4999\":null}") && fits(object, "{\"p2\":null,\"p7\":null}"))
        #expect(!fits(object, "{\"p8\":null}") && !fits(object, "{\"p7\":null,\"p2\":null}"))
        let count = 20_000
        let rules = (0..<count).map { "r\($0) ::= r\($0 + 1) \"a\"" }.joined(separator: "\n")
        let deep = try GrammarAutomaton(Grammar(gbnf: "root ::= r0\n\(rules)\nr\(count) ::= \"b\""))
        let end = String(repeating: "a", count: count)
        #expect(fits(deep, "b" + end) && !fits(deep, "b" + end.dropLast()) && !fits(deep, end))
        let back = try refusal { try Grammar(gbnf: "root ::= r0\n\(rules)\nr\(count) ::= \"b\" | r9000") }
        #expect(back.message.contains("left recursion"), "\(back)")
    }

    @Test func repetitionsOfRepetitionsAreRefused() throws {
        let counts = String(repeating: "{1}", count: 50_000)
        #expect(try refusal { try Grammar(gbnf: "root ::= \"a\"\(counts)") }.code == .grammarMalformed)
        #expect(try refusal { try Grammar(regex: "a\(counts)") }.code == .grammarUnsupported)
        let few = try GrammarAutomaton(Grammar(gbnf: "root ::= \"a\"{2}{3}?"))
        #expect(fits(few, "aaaaaa") && fits(few, "") && !fits(few, "aaa"))
    }

    /// Each of two parts that may be empty doubles the ways to begin.
    @Test func grammarsOfTooManyWaysAreRefused() throws {
        let rules = (0..<40).map { "r\($0) ::= r\($0 + 1) r\($0 + 1)" }.joined(separator: "\n")
        let error = try refusal { try Grammar(gbnf: "root ::= r0\n\(rules)\nr40 ::= \"a\"?") }
        #expect(error.code == .grammarTooLarge && error.message.contains("may begin in more than"), "\(error)")
    }
}
