import CMoruKernels
import Synchronization

/// Quantised matrices unpacked into the panels that products of many rows read, once for all the products of a run.
///
/// Training passes through every frozen weight twice a step, and would unpack it each time. What a store keeps depends
/// on its limit and on who comes first; no result does.
public final class PanelStore: Sendable {
    /// Bytes that a store keeps where its maker says nothing else.
    public static let usualLimit = 576 << 20

    private struct Key: Hashable {
        let storage: ObjectIdentifier
        let place: MatrixPlace
        let isTransposed, allowsBF16: Bool
    }

    /// Panels, and the matrix that they are of: as long as it is held here, nobody writes to its memory.
    private struct Entry {
        let matrix: Tensor
        let panels: Storage
    }

    private struct State {
        var entries: [Key: Entry] = [:]
        var byteCount = 0
        var byteLimit: Int
    }

    private let state: Mutex<State>

    /// A store that keeps at most so many bytes.
    public init(byteLimit: Int = PanelStore.usualLimit) { state = Mutex(State(byteLimit: byteLimit)) }

    /// Bytes kept.
    public var byteCount: Int { state.withLock { $0.byteCount } }

    /// Gives up what is kept, and keeps nothing from now on. No product may be under way.
    public func close() { state.withLock { $0 = State(byteLimit: 0) } }

    /// The panels of the matrix of a product, made if they are asked for the first time; nil where there is no room for
    /// them. They are valid until the store is closed or freed.
    ///
    /// - Parameters:
    ///   - matrix: The B of the product.
    ///   - byteCount: The bytes of all its panels.
    ///   - make: Fills them.
    func panels(
        of matrix: Tensor, _ product: moru_gemm, byteCount: Int, make: (UnsafeMutableRawPointer) -> Void
    ) -> UnsafeRawPointer? {
        let key = Key(
            storage: ObjectIdentifier(matrix.storage), place: MatrixPlace(matrix),
            isTransposed: product.b_transposed, allowsBF16: product.allow_bf16)
        return state.withLock { state in
            if let entry = state.entries[key] { return UnsafeRawPointer(entry.panels.base) }
            guard state.byteCount + byteCount <= state.byteLimit else { return nil }
            let panels = Storage(byteCount: byteCount)
            make(panels.base)
            state.entries[key] = Entry(matrix: matrix.detached(), panels: panels)
            state.byteCount += byteCount
            matrix.storage.forgetPages(matrix.byteOffset..<matrix.byteOffset + matrix.byteCount)
            return UnsafeRawPointer(panels.base)
        }
    }
}

extension Runtime {
    @TaskLocal private static var taskPanels: PanelStore?

    /// Where products keep the panels of quantised matrices; nil where they are unpacked anew each time.
    var panels: PanelStore? { Self.taskPanels }

    /// Runs `body` with the panels of quantised matrices kept in a store.
    public static func withPanels<Result>(_ store: PanelStore, _ body: () throws -> Result) rethrows -> Result {
        try $taskPanels.withValue(store, operation: body)
    }
}
