import MoruBase
import Testing

@testable import MoruText

/// Whether texts fit grammars, read byte by byte.
struct GrammarTests {
    /// A vocabulary of the single bytes.
    private static let bytes = TokenTrie((0..<256).map { [UInt8($0)] })

    private func fits(_ grammar: Grammar, _ text: String) throws -> Bool {
        fits(try TokenGrammar(grammar, Self.bytes), text)
    }

    private func fits(_ grammar: TokenGrammar, _ text: String) -> Bool {
        var matcher = grammar.matcher()
        for byte in text.utf8 where !matcher.accept(Int32(byte)) { return false }
        return matcher.mayEnd
    }

    private func check(_ grammar: Grammar, fits right: [String], not wrong: [String]) throws {
        for text in right { #expect(try fits(grammar, text), "\(text) should fit") }
        for text in wrong { #expect(try !fits(grammar, text), "\(text) should not fit") }
    }

    @Test func gbnf() throws {
        let arithmetic = try Grammar(
            gbnf: """
                # sums of numbers
                root ::= sum "=" number "\\n"?
                sum ::= term ("+" term)*   # at least one
                term ::= number
                  | "(" sum ")"
                number ::= [1-9] [0-9]{0,2} | "0"
                """)
        try check(
            arithmetic, fits: ["1=1", "(1+20)+3=24\n", "((0))=0"], not: ["", "1", "01=1", "1+=2", "1234=1", "(1=1"])
        let text = try Grammar(gbnf: #"root ::= [^a-c\]]+ "\x41\u00e9" . [가-힣]{2}"#)
        try check(text, fits: ["xyAé!가힣", "dAéA나다"], not: ["aAé!가나", "]Aé!가나", "dAé!가", "dAé가나"])
    }

    @Test(arguments: [
        ("root ::= \"a", 1, "not closed"), ("root ::= a\na ::= b", 2, "b is not defined"),
        ("root ::= \"a\"\nroot ::= \"b\"", 2, "defined twice"), ("root := \"a\"", 1, "::="),
        ("root ::= (\"a\"", 1, "not closed"), ("root ::= [z-a]", 1, "backwards"), ("root ::= \"\\q\"", 1, "escape"),
    ])
    func malformedGBNF(text: String, line: Int, what: String) throws {
        let error = try #require(throws: MoruError.self) { _ = try Grammar(gbnf: text) }
        #expect(error.code == .grammarMalformed)
        #expect(error.message.contains("line \(line)") && error.message.contains(what), "\(error.message)")
    }

    @Test func endlessGrammars() throws {
        for text in ["root ::= root \"a\" | \"b\"", "root ::= a \"x\" | \"y\"\na ::= \"z\"? root"] {
            let error = try #require(throws: MoruError.self) {
                _ = try TokenGrammar(Grammar(gbnf: text), Self.bytes)
            }
            #expect(error.message.contains("left recursion"), "\(error.message)")
        }
        let error = try #require(throws: MoruError.self) {
            _ = try TokenGrammar(Grammar(gbnf: "root ::= \"a\" root"), Self.bytes)
        }
        #expect(error.message.contains("no text fits"), "\(error.message)")
        // A way that leads nowhere is not taken
        let pruned = try Grammar(gbnf: "root ::= \"a\" x | \"b\"\nx ::= \"c\" x")
        #expect(try TokenGrammar(pruned, Self.bytes).matcher().allowed().ids == [Int(UInt8(ascii: "b"))])
    }

    @Test func regularExpressions() throws {
        try check(
            Grammar(regex: #"^(?:\d{3}-)?[A-F]+x?$|none"#), fits: ["123-ABx", "F", "none"],
            not: ["12-A", "123-", "nonex", "G", "٣٣٣-A"])
        try check(
            Grammar(regex: #"[^\d\s"]\W\D.é"#), fits: ["a-bcé", "é,ü.é"], not: ["1-bcé", "a_bcé", "a-1cé", "a-b\né"])
        for pattern in [#"(?=a)b"#, #"a++"#, #"(a)\1"#, #"a^b"#] {
            let error = try #require(throws: MoruError.self) { _ = try Grammar(regex: pattern) }
            #expect(error.code == .grammarUnsupported, "\(error.message)")
        }
    }

    /// Long lists must not pile up places to return to, and counted repetitions stay exact.
    @Test func longTexts() throws {
        let list = try Grammar(jsonSchema: ["type": "array", "items": ["type": "integer"]])
        #expect(try fits(list, "[" + (0..<5000).map(String.init).joined(separator: ", ") + "]"))
        let text = try Grammar(jsonSchema: ["type": "string", "minLength": 3, "maxLength": 1000])
        try check(
            text, fits: ["\"abc\"", "\"" + String(repeating: "é", count: 1000) + "\"", #""a\n\"""#],
            not: ["\"ab\"", "\"" + String(repeating: "é", count: 1001) + "\"", "\"a\nb\""])
    }

    @Test(arguments: [(-5, 17), (0, 0), (3, 1205), (-120, -7), (99, 100), (-1, 1)])
    func boundedIntegers(low: Int, high: Int) throws {
        let grammar = try Grammar(
            jsonSchema: ["type": "integer", "minimum": .int(low), "maximum": .int(high)])
        let numbers = try TokenGrammar(grammar, Self.bytes)
        for value in low - 130...high + 130 {
            #expect(fits(numbers, String(value)) == (low...high ~= value), "\(value)")
        }
        try check(grammar, fits: [], not: ["00", "-", "", "1.0", "+3"])
    }

    @Test func boundedNumbers() throws {
        let grammar = try Grammar(jsonSchema: ["type": "number", "minimum": -0.25, "exclusiveMaximum": 12.5])
        try check(
            grammar, fits: ["-0.25", "-0.2", "-0.2499", "0", "-0", "3.75", "12", "12.4999", "12.0", "0.0"],
            not: ["-0.251", "-0.3", "-1", "12.5", "12.50", "12.51", "13", "1.", ".5", "1e3"])
        let small = try Grammar(jsonSchema: ["type": "number", "exclusiveMinimum": 0, "maximum": 0.001])
        try check(small, fits: ["0.001", "0.0000001", "0.0010"], not: ["0", "0.0", "-0", "0.0011", "0.002", "1"])
        let schema: JSON = ["type": "number", "minimum": -0.75, "maximum": 1.375]
        let numbers = try TokenGrammar(Grammar(jsonSchema: schema), Self.bytes)
        for value in stride(from: -2.0, through: 2, by: 0.125) {
            #expect(fits(numbers, "\(value)") == (-0.75...1.375 ~= value), "\(value)")
        }
    }

    @Test func objects() throws {
        let schema: JSON = [
            "type": "object", "required": ["name", "tags"], "additionalProperties": false,
            "properties": [
                "name": ["type": "string"], "age": ["type": ["integer", "null"]],
                "tags": ["type": "array", "items": ["enum": ["a", "b", 3]], "minItems": 1, "maxItems": 2],
            ],
        ]
        try check(
            Grammar(jsonSchema: schema),
            fits: [
                #"{"name":"x","tags":["a"]}"#, #"{ "name": "", "age": null, "tags": ["b", 3] }"#,
                "{\n  \"name\": \"x\",\n  \"age\": 3,\n  \"tags\": [\"a\"]\n}",
            ],
            not: [
                "{}", #"{"name":"x"}"#, #"{"tags":["a"],"name":"x"}"#, #"{"name":"x","tags":[]}"#,
                #"{"name":"x","tags":["a","a","a"]}"#, #"{"name":"x","tags":["a"],"other":1}"#,
                #"{"name":"x","age":1.5,"tags":["a"]}"#, #"{"name":"x",,"tags":["a"]}"#,
            ])
        let open: JSON = [
            "properties": ["id": ["const": 7], "in": ["type": "boolean"]],
            "additionalProperties": ["type": "integer"],
        ]
        try check(
            Grammar(jsonSchema: open), fits: ["{}", #"{"id":7}"#, #"{"in":true,"idx":1,"i":2}"#, #"{"":0}"#],
            not: [#"{"id":8}"#, #"{"x":"y"}"#, #"{"in":true,"id":7}"#, #"{"a":1,"id":7}"#])
    }

    @Test func referencesAndUnions() throws {
        let tree: JSON = [
            "$ref": "#/$defs/node",
            "$defs": [
                "node": [
                    "type": "object", "required": ["value", "children"],
                    "properties": [
                        "value": ["type": "integer"],
                        "children": ["type": "array", "items": ["$ref": "#/$defs/node"]],
                    ],
                ]
            ],
        ]
        try check(
            Grammar(jsonSchema: tree),
            fits: [#"{"value":1,"children":[{"value":2,"children":[]},{"value":3,"children":[]}]}"#],
            not: [#"{"value":1,"children":[{"value":2}]}"#])
        func shape(_ kind: String, _ key: String) -> JSON {
            [
                "type": "object", "required": ["kind", .string(key)],
                "properties": .object(
                    JSONObject([
                        ("kind", JSON.object(JSONObject([("const", .string(kind))]))),
                        (key, JSON.object(JSONObject([("type", "integer"), ("minimum", 1)]))),
                    ])),
            ]
        }
        try check(
            Grammar(jsonSchema: ["oneOf": [shape("circle", "radius"), shape("square", "side")]]),
            fits: [#"{"kind":"circle","radius":2}"#, #"{"kind":"square","side":1}"#],
            not: [#"{"kind":"circle","side":2}"#, #"{"kind":"circle","radius":0}"#])
        try check(
            Grammar(jsonSchema: ["allOf": [["type": "number", "minimum": 2], ["type": "integer", "maximum": 4]]]),
            fits: ["2", "3", "4"], not: ["1", "5", "2.5"])
    }

    @Test(
        arguments: [
            (["type": "strin"], "did you mean string"), (["not": ["type": "null"]], "not"),
            (["type": "array", "uniqueItems": true], "uniqueItems"), (["minlength": 2], "did you mean minLength"),
            (["oneOf": [["type": "integer"], ["type": "number"]]], "at once"),
            (["$ref": "#/$defs/x"], "points to nothing"),
            (["properties": ["a": ["type": "string", "pattern": "a(?=b)"]]], "#/properties/a"),
            (["type": "string", "format": "color"], "format"), (["type": "number", "multipleOf": 0.5], "multipleOf"),
            (["items": "x"], "#/items"),
        ] as [(JSON, String)])
    func refusals(schema: JSON, what: String) throws {
        let error = try #require(throws: MoruError.self) { _ = try Grammar(jsonSchema: schema) }
        #expect("\(error.message) \(error.remedy ?? "")".contains(what), "\(error.message)")
        #expect(error.message.hasPrefix("JSON schema, #"), "\(error.message)")
    }

    /// A grammar with more states than are held goes on after they have been forgotten, and copies go their own ways.
    @Test func forgetting() throws {
        let automaton = try GrammarAutomaton(
            Grammar(jsonSchema: ["type": "string", "maxLength": 900]), maximumStates: 3000)
        let grammar = TokenGrammar(automaton, TokenTrie((0..<128).map { [UInt8($0)] }))
        var matchers = [grammar.matcher()]
        matchers[0].accept(0x22)
        for round in 0..<5 {
            var matcher = matchers[0]
            for place in 0..<850 {
                let isAllowed = matcher.accept(Int32(0x41 + (place * (round + 1)) % 26))
                #expect(isAllowed)
            }
            matchers.append(matcher)
        }
        for matcher in matchers {
            var copy = matcher
            let closes = copy.accept(0x22)
            #expect(closes && copy.mustEnd && !matcher.mayEnd)
        }
    }
}
