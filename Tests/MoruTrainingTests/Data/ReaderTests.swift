import Foundation
import MoruBase
import Testing

@testable import MoruTraining

@Suite
struct CSVReaderTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func rows(_ text: String, delimiter: Character? = nil) throws -> [(line: Int, values: [String])] {
        var reader = try CSVReader(path: folder.write(text, to: "data.csv"), delimiter: delimiter)
        var rows: [(line: Int, values: [String])] = []
        while let record = try reader.next() {
            #expect(record.value.object?.keys == reader.columns)
            rows.append((record.place.line ?? 0, reader.columns.compactMap { record.value.object?[$0]?.string }))
        }
        return rows
    }

    @Test(
        arguments: [
            ("a,b\n1,2\n3,4\n", [(2, ["1", "2"]), (3, ["3", "4"])]),
            ("a,b\r\n1,2\r\n3,4", [(2, ["1", "2"]), (3, ["3", "4"])]),
            ("\u{FEFF}a,b\n\n1,\n\n,2\n\n", [(3, ["1", ""]), (5, ["", "2"])]),
            ("a,b\n\"x, \"\"y\"\"\nz\",2\r\n\"\",\"3\"\n", [(2, ["x, \"y\"\nz", "2"]), (4, ["", "3"])]),
            ("\"a\",\"b c\"\n5\" pipe,é한\n", [(2, ["5\" pipe", "é한"])]), ("a;b\n1,5;2\n", [(2, ["1,5", "2"])]),
            ("a\tb\n1;x\t2\n", [(2, ["1;x", "2"])]), ("\"a;x\",b\n1,2\n", [(2, ["1", "2"])]),
            ("text\none\n", [(2, ["one"])]),
            ("a,b\n", []),
        ] as [(String, [(Int, [String])])])
    func rowsAndTheirLines(text: String, expected: [(Int, [String])]) throws {
        let rows = try rows(text)
        #expect(rows.map(\.line) == expected.map(\.0))
        #expect(rows.map(\.values) == expected.map(\.1))
    }

    @Test func theDelimiterCanBeChosen() throws {
        #expect(try rows("a:b,c\n1:2\n", delimiter: ":").map(\.values) == [["1", "2"]])
        expectError(.dataMalformed, "the delimiter is \"é\"", "one ASCII character") {
            _ = try rows("a\n", delimiter: "é")
        }
    }

    @Test(arguments: [
        ("a,b\n1,2\n3\n", "line 3: the row has 1 value, the header 2", "double quotes"),
        ("a,b\n\"x\ny\",2\n1,2,3\n", "line 4: the row has 3 values, the header 2", "holds \",\""),
        ("a,b\n1,\"never\nends\n", "line 2: a double quote opens", "twice"),
        ("a,b\n1,\"x\"y\n", "line 2: there is text after the quote", "twice"),
        ("", "has no header", "name the columns"),
        ("a,,c\n", "line 1: column 2 has no name", "each column once"),
        ("a,b,a\n", "line 1: column 3 is a second a", "each column once"),
    ])
    func malformedRowsAreNamed(text: String, message: String, remedy: String) {
        expectError(.dataMalformed, "data.csv", message, remedy) { _ = try rows(text) }
    }

    @Test func bytesThatAreNoTextAreNamed() throws {
        let path = folder.path + "/data.csv"
        try FileSystem.write(Array("a,b\n1,2\n\"x\ny\",caf".utf8) + [0xE9, 0x0A] + Array("3,4\n".utf8), to: path)
        var reader = try CSVReader(path: path)
        #expect(try reader.next()?.value["a"] == "1")
        expectError(.dataEncoding, "data.csv, line 4: the byte 0xE9", "iconv -f WINDOWS-1252") { _ = try reader.next() }
        #expect(try reader.next()?.value["b"] == "4")
        #expect(try reader.next() == nil)
    }
}

@Suite
struct SourceReaderTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func records(_ source: DataSource) throws -> [String] {
        var reader = try SourceReader(source)
        var records: [String] = []
        while let record = try reader.next() {
            records.append("\(record.place.description.dropFirst(folder.path.count + 1)): \(record.value.text())")
        }
        return records
    }

    @Test func jsonArrays() throws {
        let path = try folder.write("\u{FEFF} [\n{\"a\": \"],{\\\"\"},\n\n {\"b\":\n[1, {}]} ]\n", to: "a.json")
        #expect(try records(DataSource(path)) == [#"a.json, line 2: {"a":"],{\""}"#, #"a.json, line 4: {"b":[1,{}]}"#])
        #expect(try records(DataSource(folder.write("[]", to: "b.json"))) == [])
        // one object a line is often called .json
        #expect(try records(DataSource(folder.write("{\"a\":1}\n{\"a\":2}\n", to: "c.json"))).count == 2)
    }

    @Test(arguments: [
        ("[{\"a\":1} {\"a\":2}]", "line 1"), ("[{\"a\":1}\n", "line 2: the array does not end"),
        ("7", "not a JSON array"),
        ("[{\"a\":1},\n]", "line 2"), ("[{\"a\":1}]\nx", "line 2: there is something"),
        ("[{\"a\":1},\n7]", "line 2: an integer where an object"), ("[{\"a\":1},\n\n{\"a\":}]", "line 3, column 6"),
        ("[,{}]", "line 1"), ("[{\"a\": \"\\", "line 1"), ("", "not a JSON array"),
    ])
    func malformedArraysAreNamed(text: String, message: String) {
        expectError(.dataMalformed, "data.json", message) {
            _ = try records(DataSource(folder.write(text, to: "data.json"), format: .json))
        }
    }

    @Test func foldersOfTexts() throws {
        _ = try folder.write("\u{FEFF}one", to: "b/one.md")
        _ = try folder.write("two\n", to: "a.txt")
        _ = try folder.write("func f() {}", to: "b/c/f.swift")
        _ = try folder.write(" \n", to: "empty.txt")
        _ = try folder.write("x", to: ".git/config.txt")
        _ = try folder.write("x", to: "picture.png")
        _ = try folder.write("{}", to: "b/package.json")
        let expected = [
            #"a.txt: {"text":"two\n"}"#, #"b/c/f.swift: {"text":"func f() {}"}"#, #"b/one.md: {"text":"one"}"#,
        ]
        #expect(try records(DataSource(folder.path)) == expected)
        #expect(try DataFiles(DataSource(folder.path)).skipped.count == 2)
        #expect(try records(DataSource(folder.path + "/b/")) == Array(expected.dropFirst()))
    }

    @Test func linksThatLeadBackAddNothing() throws {
        _ = try folder.write("one", to: "a/one.txt")
        for (link, target) in [("a/again", ".."), ("a/self", "."), ("b", "a")] {
            try FileManager.default.createSymbolicLink(
                atPath: folder.path + "/" + link, withDestinationPath: target)
        }
        #expect(try records(DataSource(folder.path)).count == 1)
    }

    @Test func foldersAndPatternsOfDataFiles() throws {
        _ = try folder.write("{\"n\":1}\n", to: "b.jsonl")
        _ = try folder.write("n\n2\n", to: "a.csv")
        #expect(try records(DataSource(folder.path)) == [#"a.csv, line 2: {"n":"2"}"#, #"b.jsonl, line 1: {"n":1}"#])
        #expect(try records(DataSource(folder.path + "/*.jsonl")).count == 1)
        _ = try folder.write("notes", to: "README.md")
        expectError(.dataAmbiguous, "both texts (", "README.md", "a.csv", "/*.csv'") {
            _ = try records(DataSource(folder.path))
        }
        #expect(try records(DataSource(folder.path, format: .csv)).count == 1)
        expectError(.fileNotFound, "no file matches") { _ = try records(DataSource(folder.path + "/*.tsv")) }
    }

    @Test func whatCannotBeReadIsRefused() throws {
        expectError(.dataUnsupported, "parquet files are not read here", "pandas.read_parquet") {
            _ = try records(DataSource(folder.write("PAR1", to: "data.parquet")))
        }
        expectError(.dataUnsupported, "data.jsonl.gz is compressed", "unpack") {
            _ = try records(DataSource(folder.write("", to: "data.jsonl.gz")))
        }
        expectError(.dataUnsupported, "does not tell the format") {
            _ = try records(DataSource(folder.write("", to: "data.xyz")))
        }
        expectError(.fileNotFound, "nowhere.csv does not exist") { _ = try records(DataSource("nowhere.csv")) }
        expectError(.dataEmpty, "no texts and no data files") {
            try FileSystem.createDirectory(folder.path + "/none")
            _ = try records(DataSource(folder.path + "/none"))
        }
        try FileSystem.write([0xFF, 0xFE, 0x41, 0x00], to: folder.path + "/utf16.txt")
        expectError(.dataEncoding, "utf16.txt is UTF-16", "iconv -f UTF-16") {
            _ = try records(DataSource(folder.path + "/utf16.txt"))
        }
        try FileSystem.write(Array("ok\nno ".utf8) + [0xE9, 0x20], to: folder.path + "/latin.txt")
        expectError(.dataEncoding, "latin.txt, line 2: the byte 0xE9") {
            _ = try records(DataSource(folder.path + "/latin.txt"))
        }
    }

    /// A bounded run of damaged files: each record is read or refused with a typed error that names the file.
    @Test(arguments: ["csv", "json"])
    func damagedFilesNeverCrash(suffix: String) throws {
        let whole = Array(
            (suffix == "csv"
                ? "text,label\n\"a, \"\"b\"\"\nc\",1\nplain,é\r\n,\n"
                : "[{\"text\": \"a\\\"]\"},\n {\"text\": [1, {}]}]\n").utf8)
        var generator = SplitMix64(seed: 3)
        var refused = 0
        for _ in 0..<500 {
            var bytes = whole
            for _ in 0..<Int.random(in: 1...3, using: &generator) {
                let position = Int.random(in: 0..<bytes.count, using: &generator)
                if Bool.random(using: &generator) {
                    bytes[position] = UInt8.random(in: 0...255, using: &generator)
                } else {
                    bytes.removeSubrange(position..<min(bytes.count, position + 4))
                }
            }
            let path = "\(folder.path)/data.\(suffix)"
            try FileSystem.write(bytes, to: path)
            do {
                _ = try records(DataSource(path, format: suffix == "csv" ? .csv : .json))
            } catch let error as MoruError {
                refused += 1
                #expect(error.message.contains(path), "\(error)")
            }
        }
        #expect(refused > 100)
    }
}
