import MoruBase
import MoruTestKit
import Testing

@testable import MoruText

/// Random schemas, and random texts that their grammars allow, judged by the validator of the `jsonschema` package.
struct RandomSchemaTests {
    /// Draws schemas of every kind that is followed.
    private struct SchemaGenerator {
        var random: SplitMix64

        mutating func below(_ count: Int) -> Int { Int(random.next() % UInt64(count)) }
        mutating func chance(_ percent: Int) -> Bool { below(100) < percent }

        mutating func schema(depth: Int) -> JSON {
            switch below(depth > 0 ? 14 : 9) {
            case 0: return ["type": "boolean"]
            case 1: return string()
            case 2: return number("integer")
            case 3: return number("number")
            case 4: return ["enum": ["a", "b\"c", 3, .null, ["x", 1], 2.5]]
            case 5: return ["type": ["null", "integer"], "minimum": .int(below(50))]
            case 6: return ["const": .object(JSONObject([("k", .int(below(9)))]))]
            case 7:
                let formats = [
                    "date", "time", "date-time", "uuid", "ipv4", "email", "hostname", "uri", "ipv6", "duration",
                ]
                return ["type": "string", "format": .string(formats[below(formats.count)])]
            case 8:
                let patterns = [
                    "^[a-f]{2,4}$", "[a-f]\\d?x*", "^(?:x|y\\d)*$", "^[^\"a-z]\\s\\w\\\\$", "\\u00e9|[a-z,]",
                ]
                return ["type": "string", "pattern": .string(patterns[below(patterns.count)])]
            case 9, 10: return array(depth)
            case 11: return ["anyOf": [schema(depth: depth - 1), schema(depth: depth - 1)]]
            default: return object(depth)
            }
        }

        private mutating func string() -> JSON {
            var result: JSONObject = JSONObject([("type", "string")])
            if chance(50) { result["minLength"] = .int(below(4)) }
            if chance(50) { result["maxLength"] = .int(4 + below(6)) }
            return .object(result)
        }

        private mutating func number(_ type: String) -> JSON {
            var result = JSONObject([("type", JSON.string(type))])
            let low = below(400) - 200
            func value(_ number: Int) -> JSON { type == "integer" ? .int(number) : .double(Double(number) / 8) }
            if chance(60) { result[chance(50) ? "minimum" : "exclusiveMinimum"] = value(low) }
            if chance(60) { result[chance(50) ? "maximum" : "exclusiveMaximum"] = value(low + 2 + below(300)) }
            return .object(result)
        }

        private mutating func array(_ depth: Int) -> JSON {
            var result = JSONObject([("type", "array")])
            if chance(70) { result["items"] = schema(depth: depth - 1) }
            if chance(30) { result["prefixItems"] = [schema(depth: depth - 1), schema(depth: 0)] }
            if chance(40) { result["minItems"] = .int(below(3)) }
            if chance(40) { result["maxItems"] = .int(3 + below(2)) }
            return .object(result)
        }

        private mutating func object(_ depth: Int) -> JSON {
            var (properties, required) = (JSONObject(), [JSON]())
            for name in ["name", "x y", "q\"t", "é", "n"].prefix(1 + below(5)) {
                properties[name] = schema(depth: depth - 1)
                if chance(50) { required.append(.string(name)) }
            }
            var result = JSONObject([("type", "object"), ("properties", .object(properties))])
            if chance(70) { result["required"] = .array(required) }
            if chance(60) { result["additionalProperties"] = chance(60) ? false : schema(depth: 0) }
            if chance(20) {
                result = JSONObject([("type", "object"), ("additionalProperties", schema(depth: depth - 1))])
            }
            return .object(result)
        }
    }

    private static let tokens: [[UInt8]] =
        (0x20..<0x7F).map { [UInt8($0)] }
        + [
            "\n", "\\n", "\\\"", "\\\\", "\": ", ", \"", "\"}", "\"]", "true", "12", "0.5", "ab", "é", "가", "\u{C3}",
            "[]",
        ]
        .map { Array($0.utf8) } + [[0xC3], [0xA9], [0xF0, 0x9F], [0x98, 0x80]]

    private static func isInString(_ bytes: [UInt8]) -> Bool {
        var (isInside, isEscaped) = (false, false)
        for byte in bytes {
            if byte == UInt8(ascii: "\""), !isEscaped { isInside.toggle() }
            isEscaped = byte == UInt8(ascii: "\\") && !isEscaped
        }
        return isInside
    }

    /// A text that a grammar allows, token by token at random; after a while what closes is preferred.
    private static func text(_ grammar: TokenGrammar, _ random: inout SplitMix64) throws -> String {
        var matcher = grammar.matcher()
        for step in 0..<4000 {
            if matcher.mustEnd || (matcher.mayEnd && (step > 40 || random.next() % 3 == 0)) { break }
            let ids = try matcher.allowed().ids
            try #require(!ids.isEmpty, "a dead end after \(String(decoding: matcher.bytes, as: UTF8.self))")
            let closers = isInString(matcher.bytes) ? "\"" : "]}"
            let closing = ids.filter { tokens[$0].count == 1 && closers.utf8.contains(tokens[$0][0]) }
            let choices = !closing.isEmpty && (step > 60 || random.next() % 4 == 0) ? closing : ids
            matcher.accept(Int32(choices[Int(random.next() % UInt64(choices.count))]))
        }
        try #require(matcher.mayEnd, "no end: \(String(decoding: matcher.bytes, as: UTF8.self))")
        return String(decoding: matcher.bytes, as: UTF8.self)
    }

    @Test(.enabled(if: TestNeeds.python != nil, "MORU_TEST_PYTHON names no Python"))
    func everyTextIsValid() throws {
        var generator = SchemaGenerator(random: SplitMix64(seed: 11))
        let trie = TokenTrie(Self.tokens)
        var cases: [JSON] = []
        for _ in 0..<300 {
            let schema = generator.schema(depth: 3)
            do {
                let grammar = try TokenGrammar(Grammar(jsonSchema: schema), trie)
                for _ in 0..<3 {
                    cases.append(["schema": schema, "text": .string(try Self.text(grammar, &generator.random))])
                }
            } catch let error as MoruError where error.message.contains("no text fits") {
                // Bounds that cross, drawn by chance
            }
        }
        #expect(cases.count > 700)
        let path = TestNeeds.temporaryPath("schemas.json")
        try FileSystem.write(JSON.array(cases).text().utf8, to: path)
        defer { FileSystem.remove(path) }
        let answer = try TestNeeds.runPython(
            """
            import json, sys
            from jsonschema import Draft202012Validator
            wrong = []
            for case in json.load(open(sys.argv[1])):
                try:
                    errors = [e.message for e in Draft202012Validator(case["schema"]).iter_errors(json.loads(case["text"]))]
                except ValueError as error:
                    errors = [str(error)]
                if errors:
                    wrong.append({"case": case, "errors": errors})
            print(json.dumps(wrong[:5]))
            """, arguments: [path])
        #expect(try JSON.parse(answer, source: "jsonschema") == [], "\(answer)")
    }
}
