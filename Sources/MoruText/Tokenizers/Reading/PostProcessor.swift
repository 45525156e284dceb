import MoruBase

/// The ids that the `post_processor` section puts around a text.
struct PostProcessor {
    var prefix: [Int32] = []
    var suffix: [Int32] = []

    init() {}

    init(_ section: Section) throws(MoruError) {
        let type = try section.type()
        switch type {
        case "Sequence":
            for element in try section.required("processors").elements() {
                let inner = try PostProcessor(element)
                prefix = inner.prefix + prefix
                suffix += inner.suffix
            }
        case "ByteLevel": break
        case "BertProcessing", "RobertaProcessing":
            prefix = [try Self.pair(section.required("cls"))]
            suffix = [try Self.pair(section.required("sep"))]
        case "TemplateProcessing": try readTemplate(section)
        default: throw section.unsupported("is a post-processor of unknown type \"\(type)\"")
        }
    }

    /// The id of `["[CLS]", 101]`.
    private static func pair(_ section: Section) throws(MoruError) -> Int32 {
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
            let name = try element.required("SpecialToken").required("id").string()
            guard let token = tokens?.optional(name) else {
                throw element.malformed("names the special token \"\(name)\", which special_tokens does not have")
            }
            for id in try token.required("ids").elements() {
                let id = Int32(try id.id())
                if sequences == 0 { prefix.append(id) } else { suffix.append(id) }
            }
        }
        if sequences == 0 { throw section.unsupported("is a template without the sequence A") }
    }
}
