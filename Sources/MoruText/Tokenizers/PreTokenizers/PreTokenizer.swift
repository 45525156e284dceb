/// One step that cuts text into the words the model encodes one by one, as in the `pre_tokenizer` section of a
/// tokenizer.json. A sequence of steps is a list: each cuts what the one before it left.
enum PreTokenizer: Sendable {
    /// What becomes of the matches of a Split.
    enum Behavior: String, Sendable, CaseIterable {
        case removed = "Removed"
        case isolated = "Isolated"
        case mergedWithPrevious = "MergedWithPrevious"
        case mergedWithNext = "MergedWithNext"
        case contiguous = "Contiguous"
    }

    /// Where a Metaspace puts its mark before the text.
    enum PrependScheme: String, Sendable, CaseIterable {
        case first, always, never
    }

    /// Bytes as characters of ``ByteAlphabet``; with `splits`, after a cut by GPT-2's pattern.
    case byteLevel(addsPrefixSpace: Bool, splits: Bool)
    /// A published pattern with a scanner of its own, its matches isolated.
    case scan(WordScanner)
    case split(TextPattern, Behavior, inverted: Bool)
    /// Cuts by a class of scalars, their runs taken scalar by scalar.
    case classes(ScalarClasses)
    /// Spaces become a mark; with `splits`, each mark begins a word.
    case metaspace(mark: [UInt8], PrependScheme, splits: Bool)

    /// Pre-tokenizers that look at one scalar at a time.
    enum ScalarClasses: Sendable {
        /// `\w+|[^\w\s]+`.
        case whitespace
        case whitespaceSplit
        case bert
        case punctuation(Behavior)
        case digits(individual: Bool)
        case delimiter(UInt32)
    }
}

extension PreTokenizer.ScalarClasses {
    private static let asciiSymbols: CategorySet = [.init(rawValue: 0xF << 18)]

    @inline(__always)
    private func isPunctuation(_ value: UInt32, _ table: UnicodeTable) -> Bool {
        if value >= 0x80 { return UnicodeTable.version8.isIn(.punctuation, value) }
        let entry = table.entry(value)
        return CategorySet.punctuation.contains(entry) || Self.asciiSymbols.contains(entry)
    }

    /// Numbers that are newer than the table.
    private static func isNewNumber(_ value: UInt32) -> Bool {
        0x11DE0...0x11DE9 ~= value || 0x16FF4...0x16FF6 ~= value
    }

    /// The kind of a scalar: runs of one kind are words, or as ``behavior`` says for the kind that is matched.
    ///
    /// - Returns: 0 for text, 1 for a match, 2 for what is dropped.
    @inline(__always)
    func kind(of value: UInt32, _ table: UnicodeTable) -> Int {
        switch self {
        case .whitespace: table.isWhitespace(value) ? 2 : table.isWord(value) ? 0 : 1
        case .whitespaceSplit: table.isWhitespace(value) ? 2 : 0
        case .bert: table.isWhitespace(value) ? 2 : isPunctuation(value, table) ? 1 : 0
        case .punctuation: isPunctuation(value, table) ? 1 : 0
        case .digits: table.isIn(.number, value) || Self.isNewNumber(value) ? 1 : 0
        case .delimiter(let delimiter): value == delimiter ? 2 : 0
        }
    }

    /// What becomes of each matched scalar.
    var behavior: PreTokenizer.Behavior {
        switch self {
        case .whitespace, .whitespaceSplit, .delimiter: .contiguous
        case .bert: .isolated
        case .punctuation(let behavior): behavior
        case .digits(let individual): individual ? .isolated : .contiguous
        }
    }
}

extension PreTokenizer.Behavior {
    /// A stretch of text, matched or not.
    struct Piece {
        var start: Int
        var end: Int
        var isMatch: Bool
    }

    /// Joins or drops pieces that cover the text in order.
    func arrange(_ pieces: [Piece]) -> [Piece] {
        var result: [Piece] = []
        result.reserveCapacity(pieces.count)
        switch self {
        case .isolated: return pieces
        case .removed: return pieces.filter { !$0.isMatch }
        case .contiguous:
            for piece in pieces {
                if let last = result.last, last.isMatch == piece.isMatch {
                    result[result.count - 1].end = piece.end
                } else {
                    result.append(piece)
                }
            }
        case .mergedWithPrevious:
            var followsMatch = false
            for piece in pieces {
                if piece.isMatch, !followsMatch, !result.isEmpty {
                    result[result.count - 1].end = piece.end
                } else {
                    result.append(piece)
                }
                followsMatch = piece.isMatch
            }
        case .mergedWithNext:
            var precedesMatch = false
            for piece in pieces.reversed() {
                if piece.isMatch, !precedesMatch, !result.isEmpty {
                    result[result.count - 1].start = piece.start
                } else {
                    result.append(piece)
                }
                precedesMatch = piece.isMatch
            }
            result.reverse()
        }
        return result
    }
}
