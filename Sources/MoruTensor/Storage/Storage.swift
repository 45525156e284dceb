import MoruBase

/// Bytes that tensors share: memory of the allocator, or part of a mapped file.
///
/// Unchecked: see ``base`` for who may write.
public final class Storage: @unchecked Sendable {
    private enum Owner {
        case allocator
        case file(MappedFile)
    }

    /// The first byte. Only the creator of a fresh storage, or the holder of its sole reference, may write.
    package let base: UnsafeMutableRawPointer
    /// The size in bytes.
    public let byteCount: Int
    private let owner: Owner
    /// Quantised matrices of this storage in the layout that products want.
    let packedForms = PackedForms()

    /// Memory with unspecified content.
    package init(byteCount: Int) {
        self.byteCount = byteCount
        base = Allocator.shared.allocate(byteCount)
        owner = .allocator
    }

    /// A range of a mapped file, which stays mapped as long as this lives.
    package init(file: MappedFile, range: Range<Int>) {
        precondition(
            range.lowerBound >= 0 && range.upperBound <= file.bytes.count, "range \(range) outside \(file.path)")
        byteCount = range.count
        let start = file.bytes.baseAddress.map { $0 + range.lowerBound }
        base = start.map { UnsafeMutableRawPointer(mutating: $0) } ?? UnsafeMutableRawPointer(bitPattern: 64)!
        owner = .file(file)
    }

    /// Whether the bytes belong to a mapped file and so must not be written.
    package var isMapped: Bool { if case .file = owner { true } else { false } }

    /// Lets the system take back whole pages of a mapped file that are not needed soon; they are read again if they are.
    func forgetPages(_ range: Range<Int>) {
        if case .file(let file) = owner, let start = file.bytes.baseAddress {
            let offset = base - UnsafeMutableRawPointer(mutating: start)
            file.forgetPages(offset + range.lowerBound..<offset + range.upperBound)
        }
    }

    deinit {
        if case .allocator = owner { Allocator.shared.release(base, byteCount: byteCount) }
    }
}
