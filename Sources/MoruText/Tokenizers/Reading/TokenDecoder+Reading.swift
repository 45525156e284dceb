import MoruBase

extension TokenDecoder {
    /// Reads the `decoder` section as the list of its steps.
    static func read(_ section: Section) throws(MoruError) -> [TokenDecoder] {
        let type = try section.type()
        switch type {
        case "Sequence":
            var steps: [TokenDecoder] = []
            for element in try section.required("decoders").elements() { steps += try read(element) }
            return steps
        case "ByteLevel": return [.byteLevel]
        case "Metaspace":
            let mark = try section.optional("replacement")?.character() ?? Array("▁".utf8)
            return [.metaspace(mark: mark, dropsFirst: try PreTokenizer.prependScheme(section) != .never)]
        case "WordPiece":
            return [
                .wordPiece(
                    prefix: Array(try section.string("prefix", default: "##").utf8),
                    cleansUp: try section.bool("cleanup", default: true))
            ]
        case "BPEDecoder": return [.bpe(suffix: Array(try section.string("suffix", default: "</w>").utf8))]
        case "ByteFallback": return [.byteFallback]
        case "Fuse": return [.fuse]
        case "Strip":
            return [
                .strip(
                    content: try section.required("content").character(),
                    start: try section.required("start").integer(in: 0...1024),
                    stop: try section.required("stop").integer(in: 0...1024))
            ]
        case "Replace":
            return [
                .replace(
                    try section.required("pattern").pattern(), Array(try section.required("content").string().utf8))
            ]
        default: throw section.unsupported("is a decoder of unknown type \"\(type)\"")
        }
    }
}
