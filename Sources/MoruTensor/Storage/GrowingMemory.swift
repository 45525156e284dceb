/// Memory for values that hold no references, used again and again. Whoever makes it gives it back.
struct GrowingMemory<Element> {
    private var memory = UnsafeMutableRawBufferPointer(start: nil, count: 0)

    /// The first value; where memory has been asked for.
    var base: UnsafeMutablePointer<Element> { memory.baseAddress!.assumingMemoryBound(to: Element.self) }

    /// Makes room for so many values, and keeps those that are there.
    mutating func reserve(_ count: Int) {
        let needed = max(1, count) * MemoryLayout<Element>.stride
        guard needed > memory.count else { return }
        let larger = UnsafeMutableRawBufferPointer(
            start: Allocator.shared.allocate(max(needed, 2 * memory.count)), count: max(needed, 2 * memory.count))
        larger.copyMemory(from: UnsafeRawBufferPointer(memory))
        deallocate()
        memory = larger
    }

    func deallocate() {
        if let base = memory.baseAddress { Allocator.shared.release(base, byteCount: memory.count) }
    }
}
