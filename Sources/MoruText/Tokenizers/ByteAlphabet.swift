/// GPT-2's alphabet: each of the 256 bytes stands as a printable character, so that a vocabulary of byte strings
/// can be written as text.
enum ByteAlphabet {
    /// The scalar that stands for each byte.
    static let scalars: [UInt32] = {
        var next: UInt32 = 0x100
        return (0..<256 as Range<UInt32>).map { byte in
            switch byte {
            case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF: return byte
            default:
                defer { next += 1 }
                return next
            }
        }
    }()

    /// The byte that each scalar below 0x144 stands for, or -1.
    private static let bytes: [Int16] = {
        var bytes = [Int16](repeating: -1, count: 0x144)
        for (byte, scalar) in scalars.enumerated() { bytes[Int(scalar)] = Int16(byte) }
        return bytes
    }()

    /// The bytes that a piece of the vocabulary stands for, appended to `output`.
    ///
    /// - Returns: False, with nothing appended, when a character is not of the alphabet.
    static func decode(_ piece: some Sequence<UInt8>, into output: inout [UInt8]) -> Bool {
        let start = output.count
        var lead: UInt32 = 0
        for unit in piece {
            let scalar: Int
            if lead != 0 {
                guard unit & 0xC0 == 0x80 else { break }
                scalar = Int(lead << 6 | UInt32(unit & 0x3F))
                lead = 0
            } else if unit < 0x80 {
                scalar = Int(unit)
            } else if 0xC2...0xC5 ~= unit {
                lead = UInt32(unit & 0x1F)
                continue
            } else {
                scalar = bytes.count
            }
            guard scalar < bytes.count, bytes[scalar] >= 0 else {
                output.removeSubrange(start...)
                return false
            }
            output.append(UInt8(bytes[scalar]))
        }
        return true
    }

    /// The text with each byte written as its character.
    static func encode(_ text: some Sequence<UInt8>) -> [UInt8] {
        var output: [UInt8] = []
        for byte in text { output.append(scalar: scalars[Int(byte)]) }
        return output
    }
}
