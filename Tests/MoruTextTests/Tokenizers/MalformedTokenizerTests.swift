import MoruBase
import MoruText
import Testing

@Suite struct MalformedTokenizerTests {
    /// A small tokenizer.json with most kinds of sections.
    static let valid = #"""
        {"version":"1.0","truncation":null,"padding":null,
        "added_tokens":[{"id":4,"content":"<e>","special":true,"normalized":false,"single_word":false,"lstrip":false,"rstrip":true}],
        "normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Replace","pattern":{"Regex":"a+"},"content":"a"}]},
        "pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"\\p{L}+|[^a-z]{1,3}?"},"behavior":"Isolated","invert":false},{"type":"ByteLevel","add_prefix_space":true,"use_regex":false}]},
        "post_processor":{"type":"TemplateProcessing","single":[{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"<e>","type_id":0}}],"special_tokens":{"<e>":{"id":"<e>","ids":[4],"tokens":["<e>"]}}},
        "decoder":{"type":"Sequence","decoders":[{"type":"ByteLevel"},{"type":"Strip","content":" ","start":1,"stop":0}]},
        "model":{"type":"BPE","dropout":null,"unk_token":"?","fuse_unk":true,"byte_fallback":false,"ignore_merges":true,"vocab":{"?":0,"a":1,"b":2,"ab":3},"merges":[["a","b"]]}}
        """#

    static let unigram = #"""
        {"added_tokens":[],"normalizer":{"type":"Nmt"},"pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"first","split":true},
        "decoder":{"type":"Metaspace","replacement":"▁","prepend_scheme":"first"},
        "model":{"type":"Unigram","unk_id":0,"byte_fallback":false,"vocab":[["<unk>",0.0],["▁",-1.5],["a",-2.0],["ab",-2.5]]}}
        """#

    static let wordPiece = #"""
        {"added_tokens":[{"id":9,"content":"[X]"}],"normalizer":{"type":"BertNormalizer","clean_text":true},"pre_tokenizer":{"type":"BertPreTokenizer"},
        "post_processor":{"type":"BertProcessing","sep":["[X]",9],"cls":["[X]",9]},"decoder":{"type":"WordPiece","prefix":"##","cleanup":true},
        "model":{"type":"WordPiece","unk_token":"?","continuing_subword_prefix":"##","max_input_chars_per_word":8,"vocab":{"?":0,"a":1,"##b":2}}}
        """#

    @Test func theSamplesAreValid() throws {
        for text in [Self.valid, Self.unigram, Self.wordPiece] {
            let tokenizer = try Tokenizer(json: try JSON.parse(text, source: "sample"), source: "sample")
            #expect(!tokenizer.encode("ab b<e>").isEmpty)
        }
        let tokenizer = try Tokenizer(json: try JSON.parse(Self.valid, source: "sample"), source: "sample")
        #expect(tokenizer.encode("ab") == [0, 3, 4] && tokenizer.vocabularySize == 5)
    }

    @Test(arguments: [
        (#""a":1"#, #""a":-1"#, "not a valid id"), (#""a":1"#, #""a":99999999999"#, "not a valid id"),
        (#""a":1"#, #""a":4194305"#, "not a valid id"), (#""a":1"#, #""a":"1""#, "not a valid id"),
        (#""a":1"#, #""a":1.5"#, "not a valid id"), (#""a":1"#, #""a":2"#, "which another token has"),
        (#"["a","b"]"#, #"["a","c"]"#, "not in the vocabulary"),
        (#"["a","b"]"#, #"["b","a"]"#, "not in the vocabulary"),
        (#"["a","b"]"#, #"["a"]"#, "not a pair"), (#"["a","b"]"#, #"["a",1]"#, "not a pair"),
        (#"["a","b"]"#, #""ab""#, "space"),
        (#"["a","b"]"#, #"["","b"]"#, "empty half"), (#"["a","b"]"#, "7", "is an integer"),
        (#"[["a","b"]]"#, "{}", "not an array"), (#""unk_token":"?""#, #""unk_token":"!""#, "not in the vocabulary"),
        (#""unk_token":"?""#, #""unk_token":7"#, "not a string"), (#""type":"BPE""#, #""type":"LSTM""#, "LSTM"),
        (#""type":"NFC""#, #""type":"Rot13""#, "Rot13"), (#""type":"Split""#, #""type":"Chop""#, "Chop"),
        (#""type":"Strip""#, #""type":"CTC""#, "CTC"),
        (#""type":"TemplateProcessing""#, #""type":"Mystery""#, "Mystery"),
        (#"\\p{L}+"#, #"(?<=ab)c"#, "look-behind"), ("a+", "(", "unclosed group"),
        (#""ids":[4]"#, #""ids":[-4]"#, "outside"),
        (#""ids":[4]"#, #""ids":[77]"#, "no token has"), (#""id":4,"#, #""id":3,"#, "another token"),
        (#""id":4,"#, #""id":1e300,"#, "not an integer"), (#""content":"<e>","#, "", "has no \"content\""),
        (#""Isolated""#, #""Sideways""#, "Sideways"), (#""start":1"#, #""start":-1"#, "outside"),
        (#""dropout":null"#, #""dropout":0.1"#, "random"), (#""invert":false"#, #""invert":0"#, "not true or false"),
        (#"{"id":"A","type_id":0}"#, #"{"id":"B","type_id":0}"#, "second sequence"),
        (#""special_tokens":{"<e>""#, #""special_tokens":{"<f>""#, "does not have"),
        (#""vocab":{"?":0,"a":1,"b":2,"ab":3}"#, #""vocab":[]"#, "not an object"),
        (#""normalizers":["#, #""steps":["#, "has no \"normalizers\""),
    ])
    func namesWhatIsWrong(part: String, replacement: String, expected: String) throws {
        let text = Self.valid.replacing(part, with: replacement)
        try #require(text != Self.valid)
        let json = try JSON.parse(text, source: "bad.json")
        let error = #expect(throws: MoruError.self) { try Tokenizer(json: json, source: "bad.json") }
        #expect(error?.message.contains(expected) == true, "\(error?.message ?? "")")
        #expect(error?.message.hasPrefix("bad.json") == true, "\(error?.message ?? "")")
        #expect(error?.remedy != nil || error?.code == .tokenizerUnsupported)
    }

    @Test(arguments: ["[]", "7", "{}", #"{"model":{}}"#, #"{"model":{"type":"Unigram","vocab":[]}}"#])
    func refusesOtherDocuments(text: String) throws {
        let json = try JSON.parse(text, source: "test")
        let error = #expect(throws: MoruError.self) { try Tokenizer(json: json, source: "test") }
        #expect(error?.code == .tokenizerMalformed)
    }

    @Test func refusesABrokenCharsmap() throws {
        for charsmap in ["!!", "", "AA==", "//////8=", "BAAAAA==", "AwAAAAAAAAA="] {
            let text = Self.unigram.replacing(
                #"{"type":"Nmt"}"#, with: #"{"type":"Precompiled","precompiled_charsmap":"\#(charsmap)"}"#)
            let json = try JSON.parse(text, source: "test")
            let error = #expect(throws: MoruError.self, "\(charsmap)") { try Tokenizer(json: json, source: "test") }
            #expect(error?.code == .tokenizerMalformed)
        }
    }

    /// Files whose steps make a short text exhaust the memory.
    @Test func refusesStepsThatMakeTextsTooLong() throws {
        func load(normalizers: String? = nil, preTokenizers: String? = nil, decoders: String? = nil) throws {
            var text = Self.unigram
            func put(_ steps: String?, _ old: String, _ name: String, _ list: String) throws {
                guard let steps else { return }
                let end = text
                text = text.replacing(old, with: #""\#(name)":{"type":"Sequence","\#(list)":[\#(steps)]}"#)
                try #require(text != end)
            }
            try put(normalizers, #""normalizer":{"type":"Nmt"}"#, "normalizer", "normalizers")
            let metaspace = #"{"type":"Metaspace","replacement":"▁","prepend_scheme":"first","split":true}"#
            try put(preTokenizers, #""pre_tokenizer":"# + metaspace, "pre_tokenizer", "pretokenizers")
            let decoder = #""decoder":{"type":"Metaspace","replacement":"▁","prepend_scheme":"first"}"#
            try put(decoders, decoder, "decoder", "decoders")
            _ = try Tokenizer(json: try JSON.parse(text, source: "t"), source: "t.json").encode("a b")
        }
        func replace(_ old: String, _ new: String) -> String {
            #"{"type":"Replace","pattern":{"String":"\#(old)"},"content":"\#(new)"}"#
        }
        func refused(_ field: String, _ body: () throws -> Void) {
            let error = #expect(throws: MoruError.self) { try body() }
            #expect(error?.code == .tokenizerUnsupported && error?.remedy != nil)
            let begin = "t.json: \(field), with the steps after it, can make"
            #expect(error?.message.hasPrefix(begin) == true, "\(error?.message ?? "none")")
        }
        let thousand = String(repeating: "a", count: 1000)
        let hostile = (0..<5).map { _ in replace("a", thousand) }.joined(separator: ",")
        refused("normalizer.normalizers[4]") { try load(normalizers: hostile) }
        refused("decoder") { try load(decoders: hostile) }
        let doubling = (0..<8).map { _ in replace("a", "aa") }.joined(separator: ",")
        refused("normalizer.normalizers[3]") { try load(normalizers: doubling) }
        let regex = #"{"type":"Replace","pattern":{"Regex":"[^b]"},"content":"cccccccccccc"}"#
        refused("normalizer.normalizers[0]") { try load(normalizers: regex + "," + regex) }
        let prepend = #"{"type":"Prepend","prepend":"\#(thousand)"}"#
        refused("normalizer.normalizers[0]") { try load(normalizers: prepend) }
        // What one step puts in, the Unicode form after it may make into anything
        let mixing = [replace("b", "aaaaaaaaaaaa"), #"{"type":"NFKC"}"#, replace("a", "cccccccccccc")]
        refused("normalizer.normalizers[0]") { try load(normalizers: mixing.joined(separator: ",")) }
        let bytes = #"{"type":"ByteLevel","add_prefix_space":true,"use_regex":false}"#
        refused("pre_tokenizer") { try load(preTokenizers: (0..<8).map { _ in bytes }.joined(separator: ",")) }
        refused("normalizer.normalizers[3]") {
            try load(normalizers: (0..<8).map { _ in #"{"type":"ByteLevel"}"# }.joined(separator: ","))
        }
        // Many steps that each name a symbol, none of which grows what another has put in
        let names = "½¼¾°©®™€£¥§¶…–—•".map { replace(String($0), " name of \($0.unicodeScalars.first?.value ?? 0) ") }
        try load(normalizers: names.joined(separator: ","), decoders: names.joined(separator: ","))
        try load(normalizers: #"{"type":"NFKC"},{"type":"Lowercase"},{"type":"NFKD"},"# + replace(" ", "▁"))
    }

    /// Damaged files either load or are refused with a typed error; what loads encodes and decodes anything.
    @Test(arguments: [valid, unigram, wordPiece])
    func damagedFilesNeverCrash(sample: String) {
        let bytes = Array(sample.utf8)
        let spare = Array(#"{}[]",:0123456789-truefalsnulABDefgNKC\p+*?()|a ▁"#.utf8)
        var generator = SystemRandomNumberGenerator()
        var loaded = 0
        for _ in 0..<2500 {
            var damaged = bytes
            for _ in 0..<Int.random(in: 1...3, using: &generator) {
                let place = Int.random(in: 0..<damaged.count, using: &generator)
                switch Int.random(in: 0..<5, using: &generator) {
                case 0: damaged[place] = spare.randomElement(using: &generator) ?? 0
                case 1: damaged.insert(spare.randomElement(using: &generator) ?? 0, at: place)
                case 2: damaged.removeSubrange(place..<min(damaged.count, place + Int.random(in: 1...12)))
                case 3:
                    let from = Int.random(in: 0..<damaged.count, using: &generator)
                    let slice = damaged[from..<min(damaged.count, from + Int.random(in: 1...20))]
                    damaged.insert(contentsOf: slice, at: place)
                default: damaged[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
                }
            }
            guard let json = try? JSON.parse(damaged, source: "fuzz"),
                let tokenizer = try? Tokenizer(json: json, source: "fuzz")
            else { continue }
            loaded += 1
            let ids = tokenizer.encode("ab a<e>[X] 한 aaaa\n\u{1F525} bab")
            _ = tokenizer.decode(ids)
            var detokenizer = StreamingDetokenizer(tokenizer: tokenizer)
            for id in ids { _ = detokenizer.append(id) }
            _ = detokenizer.finish()
        }
        #expect(loaded > 20)
    }
}
