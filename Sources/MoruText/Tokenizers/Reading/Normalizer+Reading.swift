import Foundation
import MoruBase

extension Normalizer {
    /// Reads the `normalizer` section.
    init(_ section: Section) throws(MoruError) {
        let type = try section.type()
        switch type {
        case "Sequence":
            var steps: [Normalizer] = []
            for element in try section.required("normalizers").elements() { steps.append(try Normalizer(element)) }
            self = .sequence(steps)
        case "NFC": self = .unicode(.nfc)
        case "NFD": self = .unicode(.nfd)
        case "NFKC": self = .unicode(.nfkc)
        case "NFKD": self = .unicode(.nfkd)
        case "Lowercase": self = .lowercase
        case "StripAccents": self = .stripAccents
        case "BertNormalizer":
            let lowercases = try section.bool("lowercase", default: true)
            self = .bert(
                BertNormalizer(
                    cleansText: try section.bool("clean_text", default: true),
                    separatesIdeographs: try section.bool("handle_chinese_chars", default: true),
                    stripsAccents: try section.bool("strip_accents", default: lowercases),
                    lowercases: lowercases))
        case "Replace":
            self = .replace(
                try section.required("pattern").pattern(), Array(try section.required("content").string().utf8))
        case "Prepend": self = .prepend(Array(try section.required("prepend").string().utf8))
        case "Strip":
            self = .strip(
                left: try section.bool("strip_left", default: true),
                right: try section.bool("strip_right", default: true))
        case "Nmt": self = .nmt
        case "Precompiled":
            let map = try section.required("precompiled_charsmap")
            guard let data = Data(base64Encoded: try map.string()) else { throw map.malformed("is not base64") }
            self = .precompiled(try PrecompiledMap(Array(data), source: section.source))
        case "ByteLevel": self = .byteLevel
        default: throw section.unsupported("is a normalizer of unknown type \"\(type)\"")
        }
    }
}
