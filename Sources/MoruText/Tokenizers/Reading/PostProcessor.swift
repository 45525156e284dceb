import MoruBase

/// The ids that the `post_processor` section puts around a text, and between two.
struct PostProcessor {
    var prefix: [Int32] = []
    var suffix: [Int32] = []
    /// nil where two processors want to put texts together.
    var pair: PairTemplate? = .plain

    init() {}

    init(_ section: Section) throws(MoruError) {
        let type = try section.type()
        switch type {
        case "Sequence":
            for element in try section.required("processors").elements() {
                let inner = try PostProcessor(element)
                prefix = inner.prefix + prefix
                suffix += inner.suffix
                if inner.pair != .plain { pair = pair == .plain ? inner.pair : nil }
            }
        case "ByteLevel": break
        case "BertProcessing", "RobertaProcessing":
            let (begin, end) = (try Self.token(section.required("cls")), try Self.token(section.required("sep")))
            (prefix, suffix) = ([begin], [end])
            pair = type == "BertProcessing" ? .bert(begin: begin, end: end) : .roberta(begin: begin, end: end)
        case "TemplateProcessing": try readTemplate(section)
        default: throw section.unsupported("is a post-processor of unknown type \"\(type)\"")
        }
    }

    /// The id of `["[CLS]", 101]`.
    private static func token(_ section: Section) throws(MoruError) -> Int32 {
        let elements = try section.elements()
        guard elements.count == 2 else { throw section.malformed("is not a pair of a token and its id") }
        _ = try elements[0].string()
        return Int32(try elements[1].id())
    }

    private mutating func readTemplate(_ section: Section) throws(MoruError) {
        let tokens = section.optional("special_tokens")
        var sequences = 0
        for element in try section.required("single").elements() {
            if let sequence = element.optional("Sequence") {
                guard try sequence.required("id").string() == "A", sequences == 0 else {
                    throw element.unsupported("is a second sequence in the template of a single one")
                }
                sequences += 1
                continue
            }
            let ids = try Self.ids(element.required("SpecialToken"), tokens)
            if sequences == 0 { prefix += ids } else { suffix += ids }
        }
        if sequences == 0 { throw section.unsupported("is a template without the sequence A") }
        guard let template = section.optional("pair") else { return }
        pair = PairTemplate(parts: [])
        for element in try template.elements() {
            pair?.parts += try Self.pairParts(element, tokens)
        }
        // Another order is one that nobody asks for until texts are put together
        let texts = pair?.parts.filter { if case .token = $0 { false } else { true } } ?? []
        guard texts.count == 2, case .first = texts[0], case .second = texts[1] else { return pair = nil }
    }

    private static func pairParts(_ element: Section, _ tokens: Section?) throws(MoruError) -> [PairTemplate.Part] {
        if let sequence = element.optional("Sequence") {
            let (name, type) = (try sequence.required("id").string(), Int32(try sequence.required("type_id").id()))
            return [name == "A" ? .first(type: type) : .second(type: type)]
        }
        let special = try element.required("SpecialToken")
        let type = Int32(try special.required("type_id").id())
        return try ids(special, tokens).map { .token($0, type: type) }
    }

    /// The ids of a special token of a template.
    private static func ids(_ special: Section, _ tokens: Section?) throws(MoruError) -> [Int32] {
        let name = try special.required("id").string()
        guard let token = tokens?.optional(name) else {
            throw special.malformed("names the special token \"\(name)\", which special_tokens does not have")
        }
        var ids: [Int32] = []
        for id in try token.required("ids").elements() { ids.append(Int32(try id.id())) }
        return ids
    }
}
