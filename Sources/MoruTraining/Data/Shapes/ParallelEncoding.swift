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
    ///   - body: Called on this one, in order; returns whether to go on.
    /// - Throws: The first error in the order of the data, after all examples before it.
    mutating func forEach<Result>(
        _ transform: (Entry) throws(MoruError) -> Result, _ body: (Entry, Result) throws(MoruError) -> Bool
    ) throws(MoruError) {
        var failure: MoruError?
        while failure == nil {
            var entries: [Entry] = []
            var bytes = 0
            do throws(MoruError) {
                while entries.count < Self.chunkCount, bytes < Self.chunkBytes, let entry = try next() {
                    bytes += entry.record.textSize
                    entries.append(entry)
                }
            } catch {
                failure = error
            }
            guard !entries.isEmpty else { break }
            for (entry, result) in zip(entries, Self.inParallel(entries, transform)) {
                guard try body(entry, result.get()) else { return }
            }
        }
        if let failure { throw failure }
    }

    private static func inParallel<Result>(
        _ entries: [Entry], _ transform: (Entry) throws(MoruError) -> Result
    ) -> [Swift.Result<Result, MoruError>] {
        typealias Outcome = Swift.Result<Result, MoruError>
        return Array(unsafeUninitializedCapacity: entries.count) { outcomes, count in
            let base = outcomes.baseAddress
            Runtime.shared.threads.run(entries.count) { index in
                let outcome: Outcome
                do throws(MoruError) {
                    outcome = .success(try transform(entries[index]))
                } catch {
                    outcome = .failure(error)
                }
                base.map { ($0 + index).initialize(to: outcome) }
            }
            count = entries.count
        }
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
