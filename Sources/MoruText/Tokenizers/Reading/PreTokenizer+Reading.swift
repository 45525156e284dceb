import MoruBase

extension PreTokenizer {
    /// Reads the `pre_tokenizer` section as the list of its steps.
    static func read(_ section: Section) throws(MoruError) -> [PreTokenizer] {
        let type = try section.type()
        switch type {
        case "Sequence":
            var steps: [PreTokenizer] = []
            for element in try section.required("pretokenizers").elements() { steps += try read(element) }
            return steps
        case "ByteLevel":
            return [
                .byteLevel(
                    addsPrefixSpace: try section.bool("add_prefix_space", default: true),
                    splits: try section.bool("use_regex", default: true))
            ]
        case "Split": return [try split(section)]
        case "Whitespace": return [.classes(.whitespace)]
        case "WhitespaceSplit": return [.classes(.whitespaceSplit)]
        case "BertPreTokenizer": return [.classes(.bert)]
        case "Punctuation":
            return [.classes(.punctuation(try section.optional("behavior")?.choice(Behavior.self) ?? .isolated))]
        case "Digits": return [.classes(.digits(individual: try section.bool("individual_digits", default: false)))]
        case "CharDelimiterSplit":
            let delimiter = try section.required("delimiter")
            let text = String(decoding: try delimiter.character(), as: UTF8.self)
            return [.classes(.delimiter(text.unicodeScalars.first?.value ?? 0))]
        case "Metaspace": return [try metaspace(section)]
        default: throw section.unsupported("is a pre-tokenizer of unknown type \"\(type)\"")
        }
    }

    private static func split(_ section: Section) throws(MoruError) -> PreTokenizer {
        let pattern = try section.required("pattern")
        let behavior = try section.required("behavior").choice(Behavior.self)
        let inverted = try section.bool("invert", default: false)
        if behavior == .isolated, let text = pattern.json["Regex"]?.string, let scanner = WordScanner(pattern: text) {
            return .scan(scanner)
        }
        return .split(try pattern.pattern(), behavior, inverted: inverted)
    }

    private static func metaspace(_ section: Section) throws(MoruError) -> PreTokenizer {
        let mark = try section.optional("replacement")?.character() ?? Array("▁".utf8)
        return .metaspace(
            mark: mark, try prependScheme(section), splits: try section.bool("split", default: true))
    }

    /// `prepend_scheme`, or what the older `add_prefix_space` says.
    static func prependScheme(_ section: Section) throws(MoruError) -> PrependScheme {
        if let scheme = section.optional("prepend_scheme") { return try scheme.choice(PrependScheme.self) }
        return try section.bool("add_prefix_space", default: true) ? .always : .never
    }
}
