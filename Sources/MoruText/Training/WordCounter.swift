import Dispatch
import MoruBase

/// Counts the words of a corpus in bounded memory: documents come one by one, are cut where no word can cross, and are
/// counted on several threads.
struct WordCounter {
    /// How text is cut into words.
    enum Cut: Sendable {
        /// By a published pattern; words are raw bytes.
        case pattern(WordScanner)
        /// At spaces, each the beginning of a word and written as U+2581, and around line feeds.
        case spaces
    }

    /// Parts of the corpus that are counted side by side; fixed, so that no count depends on the number of threads.
    private static let lanes = 4
    /// Different words a lane holds before it forgets the rarest.
    private static let maximumWords = 4_000_000

    private let cut: Cut
    private let pieceBytes: Int
    private let tables = (0..<WordCounter.lanes).map { _ in WordTable() }
    private var pending: [[UInt8]] = []
    private var pendingBytes = 0
    /// Bytes of text counted so far.
    private(set) var byteCount = 0
    /// Whether words were forgotten because there were too many.
    private(set) var isApproximate = false

    /// - Parameter pieceBytes: Documents longer than this are counted in pieces.
    init(_ cut: Cut, pieceBytes: Int = 1 << 20) {
        self.cut = cut
        self.pieceBytes = pieceBytes
    }

    /// Counts a document.
    mutating func add(_ document: [UInt8]) {
        byteCount += document.count
        pendingBytes += document.count
        var start = 0
        while start < document.count {
            let end = safeEnd(document, from: start)
            pending.append(Array(document[start..<end]))
            start = end
        }
        if pendingBytes >= Self.lanes * pieceBytes { flush() }
    }

    /// An end of a piece after which the rest is cut into the same words: a line feed between letters or digits.
    private func safeEnd(_ bytes: [UInt8], from start: Int) -> Int {
        var position = start + pieceBytes
        while position < bytes.count - 1 {
            if bytes[position] == 0x0A, Self.isLetterOrDigit(bytes[position - 1]),
                Self.isLetterOrDigit(bytes[position + 1])
            {
                return position
            }
            position += 1
        }
        return bytes.count
    }

    private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: false
        }
    }

    private mutating func flush() {
        let (pieces, cut, tables) = (pending, cut, tables)
        DispatchQueue.concurrentPerform(iterations: Self.lanes) { lane in
            for piece in stride(from: lane, to: pieces.count, by: Self.lanes) {
                Self.count(pieces[piece], cut, into: tables[lane])
            }
        }
        pending.removeAll(keepingCapacity: true)
        pendingBytes = 0
        for table in tables where table.count > Self.maximumWords {
            isApproximate = true
            var minimum = 2
            while table.count > Self.maximumWords / 2 {
                table.prune(below: minimum)
                minimum *= 2
            }
        }
    }

    /// The counts of everything.
    mutating func finish() -> WordList {
        flush()
        let all = tables[0]
        for table in tables.dropFirst() { table.visit { all.add($0, $1, times: $2) } }
        return all.sorted()
    }

    private static func count(_ text: [UInt8], _ cut: Cut, into table: WordTable) {
        text.withUnsafeBufferPointer { buffer in
            guard let bytes = buffer.baseAddress else { return }
            switch cut {
            case .pattern(let scanner):
                let unicode = UnicodeTable.shared
                var position = 0
                while position < buffer.count {
                    let end = scanner.wordEnd(bytes, position, buffer.count, unicode)
                    table.add(bytes + position, end - position)
                    position = end
                }
            case .spaces: countSpaced(bytes, buffer.count, into: table)
            }
        }
    }

    private static func countSpaced(_ bytes: UnsafePointer<UInt8>, _ count: Int, into table: WordTable) {
        var word = [UInt8](repeating: 0, count: 3)
        var position = 0
        while position < count {
            var end = position + 1
            if bytes[position] != 0x0A {
                while end < count, bytes[end] != 0x20, bytes[end] != 0x0A { end += 1 }
            }
            if bytes[position] == 0x20 {
                word.replaceSubrange(0..., with: UnicodeMark.space)
                word.append(contentsOf: UnsafeBufferPointer(start: bytes + position + 1, count: end - position - 1))
                word.withUnsafeBufferPointer { table.add($0.baseAddress!, $0.count) }
            } else {
                table.add(bytes + position, end - position)
            }
            position = end
        }
    }
}

enum UnicodeMark {
    /// U+2581 in UTF-8, which SentencePiece writes for a space.
    static let space: [UInt8] = [0xE2, 0x96, 0x81]
}
