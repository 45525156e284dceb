import MoruBase
import MoruTestKit
import Testing

@testable import MoruTraining

@Suite
struct NearDuplicateTests {
    @Test func similarityIsTheShareOfShingles() {
        // "abcdefgh" has 4 shingles, "abcdefgx" shares 3 of 5
        #expect(Shingles.similarity(Shingles.hashes(of: "abcdefgh"), Shingles.hashes(of: "abcdefgx")) == 3.0 / 5)
        #expect(Shingles.hashes(of: "Hello,  World!") == Shingles.hashes(of: "hello world"))
        #expect(Shingles.hashes(of: "abc").count == 1 && Shingles.hashes(of: " ?! ").isEmpty)
        #expect(Shingles.hashes(of: "배송이 너무 늦었어요").count == 7)
        #expect(Shingles.similarity([], []) == 1 && Shingles.similarity([1], []) == 0)
    }

    /// Texts with a known number of changed words: of the pairs that are 0.8 alike or more all are found, of others none.
    @Test func pairsAboveTheThresholdAreFound() {
        var generator = SplitMix64(seed: 11)
        func word() -> String {
            String((0..<6).map { _ in Character(Unicode.Scalar(UInt8.random(in: 97...122, using: &generator))) })
        }
        var texts: [String] = []
        for _ in 0..<150 {
            let words = (0..<40).map { _ in word() }
            var other = words
            for _ in 0..<Int.random(in: 0...4, using: &generator) {
                other[Int.random(in: 0..<40, using: &generator)] = word()
            }
            texts += [words.joined(separator: " "), other.joined(separator: " ")]
        }
        var expected: Set<[Int]> = []
        let shingles = texts.map(Shingles.hashes)
        for first in texts.indices {
            for second in texts.indices where second > first {
                if Shingles.similarity(shingles[first], shingles[second]) >= 0.8 { expected.insert([first, second]) }
            }
        }
        let found = NearDuplicates(texts, threshold: 0.8).pairs
        #expect(Set(found.map { [$0.first, $0.second] }) == expected)
        #expect(expected.count > 50 && expected.count < 150)
        #expect(found.map(\.similarity) == found.map(\.similarity).sorted(by: >))
    }

    @Test func setsJoin() {
        var sets = DisjointSets(6)
        sets.join(4, 2)
        sets.join(5, 4)
        sets.join(0, 1)
        #expect((0..<6).map { sets.root(of: $0) } == [0, 0, 2, 3, 2, 2])
    }
}

@Suite
struct LanguageTests {
    @Test(arguments: [
        ("en", "Late, wet and dented. Again."), ("en", "Refunded in an hour. Wow."),
        ("de", "Das Gerät funktioniert nicht mehr."), ("fr", "La livraison est arrivée en retard."),
        ("es", "¿Dónde está mi pedido?"), ("it", "La consegna è arrivata in ritardo."),
        ("pt", "A entrega chegou atrasada e não funciona."), ("nl", "Ik wil mijn geld terug."),
        ("sv", "Leveransen kom för sent och var trasig."), ("da", "Jeg vil gerne have mine penge tilbage."),
        ("pl", "Gdzie jest moje zamówienie?"), ("tr", "Ürün çok geç geldi ve bozuktu."),
        ("fi", "Tuote ei toimi enää ja se on rikki."), ("cs", "Kde je moje objednávka?"),
        ("id", "Di mana pesanan saya?"), ("vi", "Sản phẩm rất tốt và dễ sử dụng."), ("ko", "배송이 너무 늦었어요."),
        ("ja", "注文した商品はいつ届きますか？"), ("zh", "我的订单在哪里？"), ("ru", "Где мой заказ?"),
        ("uk", "Де моє замовлення?"), ("el", "Πού είναι η παραγγελία μου;"), ("ar", "أين طلبي؟"),
        ("he", "איפה ההזמנה שלי?"),
        ("th", "คำสั่งซื้อของฉัน"), ("hi", "मेरा ऑर्डर कहाँ है?"),
    ])
    func told(code: String, text: String) { #expect(Languages.detect(text) == code) }

    @Test(arguments: ["", "12345", "SKU-4471 XL", "let x = foo(bar)", "Müller GmbH", "ok", "🙂🙂", "Москва Berlin"])
    func notTold(text: String) { #expect(Languages.detect(text) == nil) }
}

@Suite
struct DataInspectorTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func inspect(_ text: String, _ change: (inout DataInspector) -> Void = { _ in }) throws -> DataInspection {
        var inspector = DataInspector([DataSource(try folder.write(text, to: "data.jsonl"))])
        change(&inspector)
        return try inspector.inspect()
    }

    @Test func everythingIsCounted() throws {
        let inspection = try inspect(
            """
            {"text": "The parcel never came, and nobody answers.", "label": "bad", "note": ""}
            {"text": "The parcel never came and nobody answers!!", "label": "bad", "note": "x"}
            {"text": "Lovely, and it was here the next day.", "label": "good", "note": " "}
            {"text": "Lovely, and it was here the next day.", "label": "good", "note": "again"}
            {"text": "Lovely, and it was here the next day.", "label": "bad", "note": "no"}
            {"text": "", "label": "bad"}
            {"text": "Das war nicht gut, ich bin sehr enttäuscht.", "label": "bad", "note": null}
            {"prompt": "a", "completion": "b"}
            {"text": "broken
            """)
        #expect(inspection.examples == 6 && inspection.shapes == [.init(name: "classification", count: 6)])
        #expect(inspection.problemCount == 3)
        let lines = inspection.problems.map { String($0.message.dropFirst(folder.path.count + 13)) }
        #expect(lines[0].hasPrefix("line 6: text is empty") && lines[2].hasPrefix("line 9"))
        #expect(lines[1].hasPrefix("line 8: a completion example, but "))
        #expect(inspection.emptyFields == [.init(name: "note", count: 3)])
        #expect(
            inspection.labels == [
                .init(name: "label", values: [.init(name: "bad", count: 4), .init(name: "good", count: 2)])
            ])
        #expect(inspection.languages == [.init(name: "en", count: 5), .init(name: "de", count: 1)])
        #expect(inspection.duplicates.map { $0.places.compactMap(\.line) } == [[3, 4]])
        #expect(inspection.conflicts.map { $0.places.compactMap(\.line) } == [[3, 5]])
        #expect(inspection.nearDuplicates.map { $0.places.compactMap(\.line) } == [[1, 2]])
        #expect(!inspection.nearDuplicates[0].answersDiffer && inspection.conflicts[0].answersDiffer)
        #expect(inspection.characters?.maximum == 46 && inspection.tokens == nil)
    }

    @Test func tokensAndWhatALimitCuts() throws {
        let text = (1...20).map {
            "{\"prompt\": \"\(String(repeating: "p", count: $0))\", \"completion\": \"\(String(repeating: "c", count: 5))\"}\n"
        }.joined()
        let inspection = try inspect(text) {
            $0.encoder = (try? TestModels.tinyPretrained()).map { ExampleEncoder($0) }
            $0.maxLength = 20
        }
        let tokens = try #require(inspection.tokens)
        #expect([tokens.minimum, tokens.median, tokens.p95, tokens.maximum, tokens.total] == [7, 16, 25, 26, 330])
        #expect(inspection.targets?.total == 120)
        #expect(inspection.cut?.examples == 6 && inspection.cut?.tokens == 21 && inspection.cut?.withoutTargets == 1)
        #expect(inspection.commonTokens.prefix(2) == [.init(name: "p", count: 210), .init(name: "c", count: 100)])
        #expect(inspection.distinctTokens == 3)
    }

    @Test func labelsOfAnswers() throws {
        func chat(_ answer: String) -> String {
            "{\"messages\": [{\"role\": \"user\", \"content\": \"q\"}, {\"role\": \"assistant\", \"content\": \"\(answer)\"}]}\n"
        }
        let labels = try inspect(
            ["a: 1\\nb: x", "a: 2\\nb: x", "a: 1\\nb: x"].map(chat).joined() + chat("a: 1\\nb: y")
        ).labels
        #expect(labels.map(\.name) == ["a", "b"] && labels[1].values[0] == .init(name: "x", count: 3))
        // answers that are all different are no labels
        #expect(try inspect((0..<9).map { chat("answer \($0)") }.joined()).labels.isEmpty)
        #expect(try inspect(chat("a: 1") + chat("a: 1") + chat("It depends.")).labels.isEmpty)
    }

    @Test func nothingToLookAt() {
        expectError(.dataEmpty, "there are no examples") { _ = try inspect("\n") }
        expectError(.fileNotFound, "nowhere") { _ = try DataInspector([DataSource("nowhere")]).inspect() }
    }
}

@Suite
struct DataSplitterTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func split(
        _ text: String, name: String = "data.jsonl", overwriting: Bool = false,
        _ change: (inout DataSplitter) -> Void = { _ in }
    ) throws -> (report: DataSplitter.Report, training: [String], validation: [String]) {
        var splitter = DataSplitter(DataSource(try folder.write(text, to: name)))
        change(&splitter)
        let (train, validation) = (folder.path + "/out/train.jsonl", folder.path + "/out/validation.jsonl")
        let report = try splitter.split(training: train, validation: validation, overwriting: overwriting)
        func lines(_ path: String) throws -> [String] {
            try FileSystem.readText(path).split(separator: "\n").map(String.init)
        }
        return (report, try lines(train), try lines(validation))
    }

    private func records(_ count: Int, label: (Int) -> String = { _ in "x" }) -> [String] {
        var generator = SplitMix64(seed: 4)
        return (0..<count).map { number in
            // numbers and escapes are kept as they are written
            "{\"text\": \"\(generator.next()) caf\\u00e9 \(generator.next())\",  \"label\": \"\(label(number))\", \"n\": \(number).50}"
        }
    }

    @Test func bothPartsTogetherAreTheData() throws {
        let records = records(50)
        let result = try split("\u{FEFF}" + records.joined(separator: "\r\n") + "\r\n\r\n")
        #expect(result.validation.count == 5 && result.training.count == 45)
        #expect(result.report.training == 45 && result.report.validation == 5 && result.report.groups == 0)
        let place = Dictionary(uniqueKeysWithValues: records.enumerated().map { ($1, $0) })
        let (train, validation) = (result.training.compactMap { place[$0] }, result.validation.compactMap { place[$0] })
        #expect(train == train.sorted() && validation == validation.sorted())
        #expect((train + validation).sorted() == Array(0..<50))
        let again = try split(records.joined(separator: "\n"), overwriting: true)
        #expect(again.validation == result.validation)
        let other = try split(records.joined(separator: "\n"), overwriting: true) { $0.seed = 1 }
        #expect(other.validation != result.validation)
    }

    @Test func strataGetTheSameShare() throws {
        let records = records(90) { $0 % 3 == 0 ? "rare" : "common" }
        let result = try split(records.joined(separator: "\n")) { ($0.share, $0.stratifiedBy) = (0.2, ["label"]) }
        #expect(
            result.report.strata == [
                .init(name: "common", training: 48, validation: 12), .init(name: "rare", training: 24, validation: 6),
            ])
        expectError(.dataMalformed, "line 1: there is no topic to stratify by") {
            _ = try split(records.joined(separator: "\n"), overwriting: true) { $0.stratifiedBy = ["topic"] }
        }
    }

    @Test func whatIsAlikeStaysTogether() throws {
        var records: [String] = []
        var generator = SplitMix64(seed: 5)
        for number in 0..<30 {
            let text = "\(generator.next()) \(generator.next()) \(generator.next())"
            records.append("{\"text\": \"\(text) end\", \"customer\": \(number / 6)}")
            records.append("{\"text\": \"\(text) END!\", \"customer\": \(number / 6)}")
        }
        func sides(
            _ result: (report: DataSplitter.Report, training: [String], validation: [String]), _ key: (JSON) -> String
        ) throws
            -> Bool
        {
            let keys = try [result.training, result.validation].map {
                Set(try $0.map { key(try JSON.parse($0, source: "line")) })
            }
            return keys[0].isDisjoint(with: keys[1])
        }
        func number(_ record: JSON) -> String { String(record["text"]?.string?.prefix { $0 != " " } ?? "") }
        let result = try split(records.joined(separator: "\n")) { $0.share = 0.2 }
        #expect(try sides(result, number) && result.report.groups == 30 && result.report.validation == 12)
        let apart = try split(records.joined(separator: "\n"), overwriting: true) {
            ($0.share, $0.similarity) = (0.5, nil)
        }
        #expect(try !sides(apart, number) && apart.report.groups == 0)
        let grouped = try split(records.joined(separator: "\n"), overwriting: true) {
            ($0.share, $0.groupField) = (0.2, "customer")
        }
        #expect(try sides(grouped) { $0["customer"]?.text() ?? "" } && grouped.report.validation == 12)
    }

    @Test func otherFormatsBecomeJSONL() throws {
        let result = try split("text,label\n\"a\nb\",1\nc,2\n", name: "data.csv") { $0.share = 0.5 }
        #expect(
            (result.training + result.validation).sorted() == [
                #"{"text":"a\nb","label":"1"}"#, #"{"text":"c","label":"2"}"#,
            ])
    }

    @Test func nothingIsOverwrittenOrHalfWritten() throws {
        let text = records(10).joined(separator: "\n")
        _ = try split(text)
        expectError(.fileExists, "train.jsonl already exists") { _ = try split(text) }
        let input = folder.path + "/data.jsonl"
        let splitter = DataSplitter(DataSource(input))
        expectError(.fileExists, "is what is split") {
            _ = try splitter.split(training: folder.path + "/out/../data.jsonl", validation: "v", overwriting: true)
        }
        expectError(.fileExists, "both parts") {
            _ = try splitter.split(training: folder.path + "/x", validation: folder.path + "/./x")
        }
        expectError(.fileUnwritable, "out is a directory") {
            _ = try splitter.split(training: folder.path + "/out", validation: folder.path + "/x")
        }
        expectError(.dataEmpty, "leaves one part empty") {
            _ = try split(String(repeating: "{\"text\": \"the very same\"}\n", count: 5), overwriting: true)
        }
        expectError(.dataEmpty, "has one example") { _ = try split("{\"text\": \"a\"}", overwriting: true) }
        #expect(try FileSystem.list(folder.path) == ["data.jsonl", "out"])
    }
}
