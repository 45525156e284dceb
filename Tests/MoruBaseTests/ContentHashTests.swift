import MoruBase
import Testing

@Suite struct ContentHashTests {
    private func digest(_ parts: [[UInt8]]) -> ContentDigest {
        var hash = ContentHash()
        for part in parts { part.withUnsafeBytes { hash.add($0) } }
        return hash.digest
    }

    @Test func everyByteAndEveryBorderCounts() {
        for count in [0, 1, 7, 31, 32, 33, 100, 300] {
            let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0) }
            var contents: Set<[[UInt8]]> = [[bytes], [bytes + [0]], [bytes, []], [[0] + bytes]]
            for place in bytes.indices {
                for bit in 0..<8 {
                    var changed = bytes
                    changed[place] ^= 1 << bit
                    contents.insert([changed])
                    // Two changes that might undo each other
                    if place + 32 < count {
                        changed[place + 32] ^= 1 << (7 - bit)
                        contents.insert([changed])
                    }
                }
                contents.insert([Array(bytes[..<place]), Array(bytes[place...])])
            }
            #expect(Set(contents.map { digest($0) }).count == contents.count, "\(count) bytes")
        }
    }

    @Test func textIsReadBack() {
        var hash = ContentHash()
        hash.add("a text")
        hash.add(-7)
        hash.add([1, 2, 3])
        let digest = hash.digest
        #expect(digest.text.count == 32 && ContentDigest(digest.text) == digest)
        for wrong in ["", digest.text.uppercased() + "g", String(digest.text.dropLast()), digest.text.dropLast() + "+"]
        {
            #expect(ContentDigest(wrong) == nil)
        }
        hash.add(digest)
        #expect(hash.digest != digest)
    }

    /// Files are named by digests, so these must never change.
    @Test func staysAsItIs() {
        #expect(ContentHash().digest.text == "99414669d77c4055476f19c15347083c")
        #expect(digest([Array(0...99)]).text == "7347b4aedbeafdc9f9d793079d053ede")
    }
}
