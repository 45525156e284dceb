import MoruNN

/// Numbers for adapters, so that sequences of the same one are known to compute alike. An adapter that is gone has its
/// number to itself.
struct AdapterFamilies {
    private struct Entry {
        weak var adapter: (any Adapter)?
        let number: Int
    }

    private var entries: [ObjectIdentifier: Entry] = [:]
    private var nextNumber = 1

    /// The number of an adapter; 0 for none.
    mutating func number(of adapter: (any Adapter)?) -> Int {
        guard let adapter else { return 0 }
        if let entry = entries[ObjectIdentifier(adapter)], entry.adapter === adapter { return entry.number }
        entries = entries.filter { $0.value.adapter != nil }
        entries[ObjectIdentifier(adapter)] = Entry(adapter: adapter, number: nextNumber)
        nextNumber += 1
        return nextNumber - 1
    }
}
