/// Memory for a benchmark, filled with small non-zero numbers.
///
/// Unchecked: the threads of a benchmark write to separate parts, or the same values.
final class Scratch: @unchecked Sendable {
    /// The size.
    let bytes: Int
    /// The memory, on a cache line.
    let base: UnsafeMutableRawPointer

    /// Memory whose every byte is 1: finite in every format.
    init(bytes: Int) {
        self.bytes = max(64, bytes)
        base = .allocate(byteCount: self.bytes, alignment: 64)
        base.initializeMemory(as: UInt8.self, repeating: 1, count: self.bytes)
    }

    /// Numbers between -0.5 and 0.5.
    convenience init(floats count: Int) {
        self.init(bytes: count * 4)
        var state: UInt32 = 1
        for index in 0..<count {
            state = state &* 1_664_525 &+ 1_013_904_223
            floats[index] = Float(state >> 8) / 16_777_216 - 0.5
        }
    }

    /// The memory as f32.
    var floats: UnsafeMutablePointer<Float> { base.assumingMemoryBound(to: Float.self) }

    deinit { base.deallocate() }
}
