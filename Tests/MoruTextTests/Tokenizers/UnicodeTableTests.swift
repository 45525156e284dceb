import MoruBase
import Testing

@testable import MoruText

/// Every scalar, against what the reference's components think of it.
@Suite struct UnicodeTableTests {
    private let golden: JSON

    init() throws { golden = try JSON.parse(file: "\(TokenizerGolden.folder)/unicode.json") }

    private func members(_ name: String) throws -> [Bool] {
        let flat = try #require(golden[name]?.array).compactMap(\.int)
        var members = [Bool](repeating: false, count: 0x110000)
        var end = 0
        for index in stride(from: 0, to: flat.count, by: 2) {
            let start = end + flat[index]
            end = start + flat[index + 1]
            for value in start..<end { members[value] = true }
        }
        return members
    }

    private func check(_ name: String, _ property: (UInt32) -> Bool) throws {
        let expected = try members(name)
        try #require(expected.contains(true))
        let different = (0..<0x110000 as Range<UInt32>).filter {
            !(0xD800..<0xE000).contains($0) && expected[Int($0)] != property($0)
        }
        #expect(different.isEmpty, "\(name): \(different.prefix(10).map { String($0, radix: 16) })")
    }

    @Test func propertiesOfEveryScalar() throws {
        let table = UnicodeTable.shared
        for name in ["L", "N", "P", "S", "M", "Lu", "Ll", "Lt", "Lm", "Nd"] {
            let categories = try #require(CategorySet(named: name))
            try check("\\p{\(name)}") { table.isIn(categories, $0) }
        }
        try check("\\s") { table.isWhitespace($0) }
        let word = ScalarSet([.word])
        try check("\\w") { word.contains($0) }
        try check("Whitespace") { table.isWhitespace($0) }
        try check("word") { table.isWord($0) }
        let digits = PreTokenizer.ScalarClasses.digits(individual: true)
        try check("Digits") { digits.kind(of: $0, table) == 1 }
        let punctuation = PreTokenizer.ScalarClasses.punctuation(.isolated)
        try check("Punctuation") { punctuation.kind(of: $0, table) == 1 }
    }

    @Test func scalarsThatNormalizersDrop() throws {
        func drops(_ normalizer: Normalizer, _ value: UInt32) -> Bool {
            var text: [UInt8] = []
            text.append(scalar: value)
            return normalizer.apply(text).isEmpty
        }
        func bert(cleans: Bool = false, strips: Bool = false) -> Normalizer {
            .bert(
                BertNormalizer(
                    cleansText: cleans, separatesIdeographs: false, stripsAccents: strips, lowercases: false))
        }
        let cleans = bert(cleans: true)
        try check("BertNormalizer.clean_text") { drops(cleans, $0) }
        let strips = bert(strips: true)
        try check("BertNormalizer.strip_accents") { drops(strips, $0) }
        try check("StripAccents") { drops(.stripAccents, $0) }
    }

    @Test(arguments: ["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Nmt"])
    func normalFormsOfEveryScalar(name: String) throws {
        let forms: [String: Normalizer] = [
            "NFC": .unicode(.nfc), "NFD": .unicode(.nfd), "NFKC": .unicode(.nfkc), "NFKD": .unicode(.nfkd),
            "Lowercase": .lowercase, "Nmt": .nmt,
        ]
        let form = try #require(forms[name])
        let expected = try #require(golden["forms"]?[name]?.array).compactMap(\.string)
        try #require(expected.count == 32)
        for (block, expected) in expected.enumerated() {
            var hash: UInt64 = 0xCBF2_9CE4_8422_2325
            for value in UInt32(block * 4096)..<UInt32(block * 4096 + 4096) where !(0xD800..<0xE000).contains(value) {
                var text: [UInt8] = []
                text.append(scalar: value)
                for byte in form.apply(text) { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
            }
            #expect(String(hash, radix: 16) == String(UInt64(expected, radix: 16) ?? 0, radix: 16), "block \(block)")
        }
    }

    @Test func normalFormsOfStrings() throws {
        let strings = try #require(try JSON.parse(file: "\(TokenizerGolden.folder)/forms.json").array)
        try #require(strings.count >= 400)
        for string in strings {
            let texts = try #require(string.array).compactMap { $0.string.map { Array($0.utf8) } }
            try #require(texts.count == 5)
            for (form, expected) in zip([UnicodeForm.nfc, .nfd, .nfkc, .nfkd], texts.dropFirst()) {
                #expect(form.apply(texts[0]) == expected, "\(form) of \(string[0]?.string?.debugDescription ?? "")")
            }
        }
        #expect(UnicodeForm.nfc.apply([0x65, 0xFF, 0xCC, 0x81]) == [0x65, 0xFF, 0xCC, 0x81])
    }

    @Test func decodesEveryScalarAndNoInvalidByte() {
        for value in UInt32(0)..<0x110000 {
            guard let scalar = Unicode.Scalar(value) else { continue }
            let bytes = Array(String(scalar).utf8)
            let (decoded, length) = decodeScalar(bytes, 0, bytes.count)
            if decoded != value || length != bytes.count || scalarStart(before: length, bytes, from: 0) != 0 {
                Issue.record("scalar \(String(value, radix: 16))")
            }
        }
        let invalid: [[UInt8]] = [
            [0x80], [0xC0, 0x80], [0xC1, 0xBF], [0xC3], [0xE0, 0x80, 0x80], [0xED, 0xA0, 0x80],
            [0xF0, 0x80, 0x80, 0x80],
            [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80, 0x80, 0x80], [0xFF], [0xE2, 0x82], [0xC3, 0x41],
        ]
        for bytes in invalid {
            let (value, length) = decodeScalar(bytes, 0, bytes.count)
            #expect(value == UnicodeTable.invalid && length == 1, "\(bytes)")
        }
    }
}
