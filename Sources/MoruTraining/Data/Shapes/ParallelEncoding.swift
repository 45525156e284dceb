import MoruBase
import MoruTensor

extension ExampleReader {
    /// The most examples and bytes of text that wait for their turn.
    private static let (chunkCount, chunkBytes) = (256, 8 << 20)

    /// Goes through the examples that are left, working on several at once, and hands the results over in order.
    ///
    /// Memory is bounded by a chunk of examples, whatever the size of the data.
    ///
    /// - Parameters:
    ///   - transform: Called on many threads.
    ///   - failing: Called on this one with what is wrong with an example, after the examples before it were handed
    ///     over; what it throws ends the walk, else the example is passed over.
    ///   - body: Called on this one, in order; returns whether to go on.
    /// - Throws: What `failing` and `body` throw.
    mutating func forEach<Result>(
        _ transform: (Entry) throws(MoruError) -> Result,
        failing: (MoruError) throws(MoruError) -> Void = { (error) throws(MoruError) in throw error },
        _ body: (Entry, Result) throws(MoruError) -> Bool
    ) throws(MoruError) {
        var isAtEnd = false
        while !isAtEnd {
            var entries: [Entry] = []
            var bytes = 0
            var failure: MoruError?
            do throws(MoruError) {
                while entries.count < Self.chunkCount, bytes < Self.chunkBytes, !isAtEnd {
                    if let entry = try next() {
                        bytes += entry.record.textSize
                        entries.append(entry)
                    } else {
                        isAtEnd = true
                    }
                }
            } catch {
                failure = error
            }
            let results = inParallel(entries.count) { index -> Swift.Result<Result, MoruError> in
                do throws(MoruError) {
                    return .success(try transform(entries[index]))
                } catch {
                    return .failure(error)
                }
            }
            for (entry, result) in zip(entries, results) {
                switch result {
                case .success(let value): guard try body(entry, value) else { return }
                case .failure(let error): try failing(error)
                }
            }
            if let failure { try failing(failure) }
        }
    }
}

/// `body(0) ... body(count - 1)`, worked out on all threads.
func inParallel<Result>(_ count: Int, _ body: (Int) -> Result) -> [Result] {
    Array(unsafeUninitializedCapacity: count) { results, initialized in
        let base = results.baseAddress
        Runtime.shared.threads.run(count) { index in base.map { ($0 + index).initialize(to: body(index)) } }
        initialized = count
    }
}

extension JSON {
    /// The bytes of all strings in it.
    var textSize: Int {
        switch self {
        case .string(let text): text.utf8.count
        case .array(let elements): elements.reduce(0) { $0 + $1.textSize }
        case .object(let object): object.members.reduce(0) { $0 + $1.value.textSize }
        default: 0
        }
    }
}
