import Foundation
import MoruBase

/// What one page of keys and values on disk is of: all that decides its content, to the bit.
struct PrefixIdentity: Sendable, Hashable {
    /// What computed it: model, adapter, format, kernels; see ``PrefixKeys``.
    var computation: ContentDigest
    /// The tokens of the sequence up to the page's end, negative for virtual ones.
    var tokens: [Int32]
    /// How many of the first were computed in long runs.
    var longCount: Int

    /// The digest that names the file.
    var key: ContentDigest {
        var hash = ContentHash()
        hash.add(computation)
        hash.add(tokens)
        hash.add(longCount)
        return hash.digest
    }
}

/// The file format of a page of keys and values, little-endian:
///
/// | bytes | |
/// |---|---|
/// | 8 | `MORUPAGE` |
/// | 4, 4 | the version, 1; the number of tokens, n |
/// | 8, 8 | how many of the tokens were computed in long runs; the bytes of the page, m |
/// | 32 | the digest of what computed it, in hexadecimal digits |
/// | 4 n | the tokens of the sequence up to the page's end |
/// | m | the page |
/// | 32 | the digest of all before, in hexadecimal digits |
enum PrefixFile {
    private static let magic = Array("MORUPAGE".utf8)
    private static let version: UInt32 = 1
    private static let headerBytes = 64
    private static let digestBytes = 32

    /// Why a file is not what it should be.
    enum Flaw: Error, Equatable {
        /// It is no page of this format.
        case foreign
        /// It is damaged, or of another computation or other tokens than its name says.
        case damaged
    }

    /// Bytes of the file of a page.
    static func byteCount(_ identity: PrefixIdentity, pageBytes: Int) -> Int {
        headerBytes + 4 * identity.tokens.count + pageBytes + digestBytes
    }

    /// The file of a page.
    static func bytes(_ identity: PrefixIdentity, page: UnsafeRawBufferPointer) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(byteCount(identity, pageBytes: page.count))
        bytes += magic
        append(version, to: &bytes)
        append(UInt32(identity.tokens.count), to: &bytes)
        append(UInt64(identity.longCount), to: &bytes)
        append(UInt64(page.count), to: &bytes)
        bytes += identity.computation.text.utf8
        for token in identity.tokens { append(UInt32(bitPattern: token), to: &bytes) }
        bytes += page
        bytes += digest(bytes[...])
        return bytes
    }

    /// The page that a file holds.
    static func page(
        in bytes: UnsafeRawBufferPointer, of identity: PrefixIdentity, pageBytes: Int
    ) throws(Flaw) -> UnsafeRawBufferPointer {
        guard bytes.count >= magic.count, bytes.prefix(magic.count).elementsEqual(magic) else { throw .foreign }
        guard bytes.count == byteCount(identity, pageBytes: pageBytes) else { throw .damaged }
        let end = bytes.count - digestBytes
        guard bytes[end...].elementsEqual(digest(bytes[..<end])) else { throw .damaged }
        func number<Value: FixedWidthInteger>(_ place: Int, _: Value.Type) -> Value {
            Value(littleEndian: bytes.loadUnaligned(fromByteOffset: place, as: Value.self))
        }
        let tokens = (0..<identity.tokens.count).lazy.map { number(headerBytes + 4 * $0, Int32.self) }
        guard number(8, UInt32.self) == version, number(12, UInt32.self) == identity.tokens.count,
            number(16, UInt64.self) == identity.longCount, number(24, UInt64.self) == pageBytes,
            bytes[32..<headerBytes].elementsEqual(identity.computation.text.utf8),
            tokens.elementsEqual(identity.tokens)
        else { throw .damaged }
        let begin = headerBytes + 4 * identity.tokens.count
        return UnsafeRawBufferPointer(rebasing: bytes[begin..<end])
    }

    private static func append(_ value: some FixedWidthInteger, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: value.littleEndian) { bytes += $0 }
    }

    private static func digest(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
        bytes.withUnsafeBytes { digest($0[...]) }
    }

    private static func digest(_ bytes: Slice<UnsafeRawBufferPointer>) -> [UInt8] {
        var hash = ContentHash()
        hash.add(UnsafeRawBufferPointer(rebasing: bytes))
        return Array(hash.digest.text.utf8)
    }
}
