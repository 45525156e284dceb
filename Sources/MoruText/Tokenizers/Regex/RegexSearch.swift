/// Finds the matches of a regular expression in one text, one after the other, in a time that grows with the length of
/// the text alone, whatever the pattern.
///
/// Patterns are tried by backtracking, which for those of published tokenizers takes a few steps a byte. A pattern that
/// takes many more is looked for with a ``RegexTable`` from then on, which gives the same matches.
struct RegexSearch {
    private let program: RegexProgram
    private let bytes: UnsafePointer<UInt8>
    private let start: Int
    private let end: Int
    /// Steps that may still be taken by backtracking.
    private var steps: Int
    private var table: RegexTable?

    /// Begins a search in bytes that stay where they are for as long as it goes on.
    init(_ program: RegexProgram, _ bytes: UnsafePointer<UInt8>, _ start: Int, _ end: Int) {
        (self.program, self.bytes, self.start, self.end) = (program, bytes, start, end)
        // About as much as the table would take
        steps = 4 * (program.stateCount + 16) * (end - start + 16)
    }

    /// Whether backtracking took too long.
    var usesTable: Bool { table != nil }

    /// The next non-empty match at or after a position, or nil. Positions must not decrease from call to call.
    mutating func next(from position: Int) -> (start: Int, end: Int)? {
        var position = position
        while position < end {
            if let stop = match(at: position), stop > position { return (position, stop) }
            position += decodeScalar(bytes, position, end).length
        }
        return nil
    }

    /// The end of the match that starts exactly at a position, or nil.
    mutating func match(at position: Int) -> Int? {
        if let table { return table.match(at: position) }
        let stop = program.match(bytes, start, end, at: position, steps: &steps)
        if steps >= 0 { return stop }
        let table = RegexTable(program, bytes, start, end, from: position)
        self.table = table
        return table.match(at: position)
    }
}
