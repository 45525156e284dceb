import MoruBase

/// SentencePiece's `precompiled_charsmap`: replacements of short character sequences, kept in a double-array trie
/// (darts-clone's layout) followed by the replacement texts, each ended by a zero byte.
struct PrecompiledMap: Sendable {
    private let units: [UInt32]
    private let replacements: [UInt8]
    /// The longest published one has 33 bytes.
    private static let longestReplacement = 255

    /// Reads the map.
    ///
    /// - Throws: ``MoruError/Code/tokenizerMalformed`` when the sizes do not fit.
    init(_ data: [UInt8], source: String) throws(MoruError) {
        func malformed(_ what: String) -> MoruError {
            MoruError(.tokenizerMalformed, "\(source): precompiled_charsmap \(what)")
        }
        func word(_ position: Int) -> UInt32 {
            data[position..<position + 4].reversed().reduce(0) { $0 << 8 | UInt32($1) }
        }
        guard data.count >= 4 else { throw malformed("is shorter than its header") }
        let size = Int(word(0))
        guard size > 0, size % 4 == 0, size <= data.count - 4 else {
            throw malformed("says its trie takes \(size) of \(data.count - 4) bytes")
        }
        units = (0..<size / 4).map { word(4 + $0 * 4) }
        replacements = Array(data[(4 + size)...])
        guard String(validating: replacements, as: UTF8.self) != nil else {
            throw malformed("has replacements that are not UTF-8")
        }
        let longest = replacements.split(separator: 0).map(\.count).max() ?? 0
        guard longest <= Self.longestReplacement else {
            throw malformed("replaces a character by \(longest) bytes, and the limit is \(Self.longestReplacement)")
        }
    }

    /// The replacement of the shortest prefix of `key` in the map, or nil.
    private func replacement(for key: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        guard let root = units.first else { return nil }
        var node = Self.offset(root)
        for byte in key {
            if byte == 0 { return nil }
            node ^= Int(byte)
            guard units.indices.contains(node) else { return nil }
            let unit = units[node]
            guard unit & 0x8000_00FF == UInt32(byte) else { return nil }
            node ^= Self.offset(unit)
            if unit >> 8 & 1 == 1 {
                guard units.indices.contains(node) else { return nil }
                let start = Int(units[node] & 0x7FFF_FFFF)
                guard start <= replacements.count else { return nil }
                return replacements[start...].prefix { $0 != 0 }
            }
        }
        return nil
    }

    private static func offset(_ unit: UInt32) -> Int {
        Int(unit >> 10) << Int((unit & 0x200) >> 6)
    }

    /// Replaces grapheme by grapheme, and scalar by scalar where a grapheme is long or has no replacement.
    func apply(_ text: [UInt8]) -> [UInt8] {
        var output: [UInt8] = []
        output.reserveCapacity(text.count + text.count / 4)
        let string = String(decoding: text, as: UTF8.self)
        for character in string {
            let grapheme = Array(character.utf8)
            if grapheme.count < 6, let replaced = replacement(for: grapheme[...]) {
                output.append(contentsOf: replaced)
                continue
            }
            for scalar in character.unicodeScalars {
                let bytes = Array(String(scalar).utf8)
                output.append(contentsOf: replacement(for: bytes[...]) ?? bytes[...])
            }
        }
        return output
    }
}
