/// One step that rewrites text before it is split, as in the `normalizer` section of a tokenizer.json.
enum Normalizer: Sendable {
    case unicode(UnicodeForm)
    case lowercase
    case stripAccents
    case bert(BertNormalizer)
    case replace(TextPattern, [UInt8])
    case prepend([UInt8])
    case strip(left: Bool, right: Bool)
    /// The clean-up of the Neural Machine Translation corpora: drops control characters, turns odd spaces into one.
    case nmt
    case precompiled(PrecompiledMap)
    case byteLevel
    case sequence([Normalizer])

    /// The rewritten text. Bytes that are no valid UTF-8 pass unchanged.
    func apply(_ text: [UInt8]) -> [UInt8] {
        switch self {
        case .unicode(let form): return form.apply(text)
        case .lowercase: return text.mappingScalars(asciiUnchanged: false) { Self.lowercase($0, into: &$1) }
        case .stripAccents:
            let table = UnicodeTable.version9
            return text.mappingScalars(asciiUnchanged: true) { value, output in
                if !table.isIn(.mark, value) { output.append(scalar: value) }
            }
        case .bert(let bert): return bert.apply(text)
        case .replace(let pattern, let replacement): return pattern.replacing(text, with: replacement)
        case .prepend(let prefix): return text.isEmpty ? text : prefix + text
        case .strip(let left, let right): return Self.strip(text, left: left, right: right)
        case .nmt: return text.mappingScalars(asciiUnchanged: false) { Self.cleanForTranslation($0, into: &$1) }
        case .precompiled(let map): return map.apply(text)
        case .byteLevel: return ByteAlphabet.encode(text)
        case .sequence(let steps): return steps.reduce(text) { $1.apply($0) }
        }
    }

    static func lowercase(_ value: UInt32, into output: inout [UInt8]) {
        if value < 0x80 {
            output.append(0x41...0x5A ~= value ? UInt8(value) + 0x20 : UInt8(value))
        } else if let scalar = Unicode.Scalar(value) {
            output.append(contentsOf: scalar.properties.lowercaseMapping.utf8)
        }
    }

    private static func cleanForTranslation(_ value: UInt32, into output: inout [UInt8]) {
        switch value {
        case 0x01...0x08, 0x0B, 0x0E...0x1F, 0x7F, 0x8F, 0x9F: break
        case 0x09, 0x0A, 0x0C, 0x0D, 0x1680, 0x200B...0x200F, 0x2028, 0x2029, 0x2581, 0xFEFF, 0xFFFD:
            output.append(0x20)
        default: output.append(scalar: value)
        }
    }

    private static func strip(_ text: [UInt8], left: Bool, right: Bool) -> [UInt8] {
        text.withUnsafeBufferPointer { buffer in
            guard let bytes = buffer.baseAddress else { return text }
            let table = UnicodeTable.shared
            var start = 0
            var end = text.count
            while left, start < end {
                let (value, length) = decodeScalar(bytes, start, end)
                guard table.isWhitespace(value) else { break }
                start += length
            }
            while right, start < end {
                let last = scalarStart(before: end, bytes, from: start)
                guard table.isWhitespace(decodeScalar(bytes, last, end).value) else { break }
                end = last
            }
            return Array(buffer[start..<end])
        }
    }
}

extension [UInt8] {
    /// Rewrites the text scalar by scalar; bytes that are no valid UTF-8 pass unchanged.
    ///
    /// - Parameter asciiUnchanged: Whether ASCII passes without being shown to `body`.
    func mappingScalars(asciiUnchanged: Bool, _ body: (UInt32, inout [UInt8]) -> Void) -> [UInt8] {
        withUnsafeBufferPointer { buffer in
            guard let bytes = buffer.baseAddress else { return [] }
            var output: [UInt8] = []
            output.reserveCapacity(buffer.count + buffer.count / 8)
            var position = 0
            while position < buffer.count {
                let byte = bytes[position]
                if asciiUnchanged, byte < 0x80 {
                    output.append(byte)
                    position += 1
                    continue
                }
                let (value, length) = decodeScalar(bytes, position, buffer.count)
                if value == UnicodeTable.invalid { output.append(byte) } else { body(value, &output) }
                position += length
            }
            return output
        }
    }
}
