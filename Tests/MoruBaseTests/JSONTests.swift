import Foundation
import MoruBase
import Testing

@Suite struct JSONTests {
    @Test func keepsOrderAndKinds() throws {
        let value = try JSON.parse(#"{"b": 1, "a": [1.5, true, null, "x\u00e9\ud83d\ude00\n"]}"#, source: "test")
        #expect(value.object?.keys == ["b", "a"])
        #expect(value["b"] == .int(1))
        #expect(value["a"]?.array == [.double(1.5), .bool(true), .null, .string("xé😀\n")])
        #expect(value.text() == #"{"b":1,"a":[1.5,true,null,"xé😀\n"]}"#)
    }

    @Test(arguments: [
        "", "{", "[1,]", "{\"a\" 1}", "01", "1.", "nul", "\"\\x\"", "\"a", "[1] 2", "\"\u{01}\"", "-", "1e999",
        "{a: 1}", "\"\\u12g4\"",
    ])
    func refusesMalformedText(text: String) {
        let error = #expect(throws: MoruError.self) { try JSON.parse(text, source: "test") }
        #expect(error?.code == .jsonMalformed)
        #expect(error?.message.contains("test, line 1") == true)
    }

    @Test func refusesInvalidUTF8AndEndlessNesting() {
        #expect(throws: MoruError.self) { try JSON.parse([0x22, 0xFF, 0x22], source: "test") }
        #expect(throws: MoruError.self) {
            try JSON.parse(String(repeating: "[", count: 100_000), source: "test")
        }
    }

    @Test func namesTheLine() {
        let error = #expect(throws: MoruError.self) { try JSON.parse("{\n  \"a\": x\n}", source: "config.json") }
        #expect(error?.message.hasPrefix("config.json, line 2, column 8") == true)
    }

    @Test func aRepeatedKeyHasItsLastValueOrIsRefused() throws {
        let path = NSTemporaryDirectory() + "repeated-\(UUID().uuidString).json"
        defer { FileSystem.remove(path) }
        try FileSystem.write("{\"a\": {\"b\": 1},\n \"c\": {\"b\": 1, \"b\": 2}}".utf8, to: path)
        #expect(try JSON.parse(file: path) == ["a": ["b": 1], "c": ["b": 2]])
        let error = #expect(throws: MoruError.self) { try JSON.parse(file: path, refusesRepeatedKeys: true) }
        #expect(error?.message.hasPrefix("\(path), line 2, column 16: the key \"b\" is there for the second") == true)
    }

    @Test func largeObjectsFindEveryKey() {
        var object = JSONObject((0..<100).map { ("key\($0)", JSON.int($0)) })
        #expect((0..<100).allSatisfy { object["key\($0)"] == .int($0) })
        object["key50"] = nil
        #expect(object["key50"] == nil && object["key99"] == .int(99) && object.count == 99)
    }

    @Test(arguments: [0, 40]) func keysAreTheSameOnlyWhenTheirBytesAre(others: Int) {
        var object = JSONObject((0..<others).map { ("key\($0)", JSON.int($0)) })
        object["\u{E9}"] = 1
        object["e\u{301}"] = 2
        #expect(object.count == others + 2)
        #expect(object["\u{E9}"] == 1 && object["e\u{301}"] == 2)
    }

    @Test func prettyTextParsesBack() throws {
        let value: JSON = ["a": [1, 2.5, ["b": nil]], "c": "quote \" and \\ and \u{07}"]
        #expect(try JSON.parse(value.text(pretty: true), source: "test") == value)
    }
}
