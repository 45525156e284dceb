/// What one rendering may use, so that a hostile template can neither hang nor exhaust memory.
struct JinjaBudget {
    /// Statements, evaluations and loop rounds.
    var maximumSteps = 10_000_000
    /// Bytes of text and lists made, counted whether or not they are still held.
    var maximumBytes = 1 << 28
    /// Nested evaluations, statements and macro calls.
    static let maximumDepth = 400

    private var steps = 0
    private var bytes = 0
    private var depth = 0

    /// Counts one step, or several.
    mutating func step(_ count: Int = 1) throws(JinjaError) {
        steps += count
        guard steps <= maximumSteps else {
            throw JinjaError("more than \(maximumSteps) steps", kind: .limit)
        }
    }

    /// Counts memory about to be taken.
    mutating func allocate(_ count: Int) throws(JinjaError) {
        let (sum, overflow) = bytes.addingReportingOverflow(count)
        guard !overflow, sum <= maximumBytes else {
            throw JinjaError("more than \(maximumBytes >> 20) MiB of text", kind: .limit)
        }
        bytes = sum
    }

    /// Counts memory for `count` pieces of `size` bytes.
    mutating func allocate(_ count: Int, times size: Int) throws(JinjaError) {
        let (product, overflow) = count.multipliedReportingOverflow(by: size)
        try allocate(overflow ? .max : max(product, 0))
    }

    /// Counts the time to look through a whole value.
    mutating func traverse(_ value: JinjaValue) throws(JinjaError) { try step(1 + value.extent.weight >> 2) }

    /// Counts the time to go through a text scalar by scalar.
    mutating func scan(_ text: String) throws(JinjaError) { try step(1 + text.utf8.count >> 3) }

    mutating func enter() throws(JinjaError) {
        depth += 1
        guard depth <= Self.maximumDepth else {
            throw JinjaError("nested or recursive deeper than \(Self.maximumDepth) levels", kind: .limit)
        }
    }

    mutating func leave() { depth -= 1 }
}
