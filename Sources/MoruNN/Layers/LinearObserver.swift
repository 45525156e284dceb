import MoruTensor
import Synchronization

/// Adds up the squares of what linear layers read, column by column: how much each input feature matters.
public final class LinearObserver: Sendable {
    /// The squares of one layer's inputs, and the number of rows that they are of.
    public struct Squares: Sendable, Hashable {
        /// The sum for each input feature.
        public var sums: [Double]
        /// Rows seen.
        public var rows: Int
    }

    private let seen = Mutex<[String: Squares]>([:])

    /// An observer that has seen nothing.
    public init() {}

    /// What was seen, by the path of the weight.
    public var squares: [String: Squares] { seen.withLock { $0 } }

    /// Takes note of the input `x` [N, inputs] of the layer with a weight of this path.
    public func observe(_ path: String, _ x: Tensor) {
        let values = x.detached().converted(to: .f32)
        let (rows, columns) = (values.shape[0], values.shape[1])
        // A column belongs to one thread, so that the sums do not depend on how many there are
        let sums = (values.transposedCopy()).rowSquares()
        precondition(sums.count == columns)
        seen.withLock { seen in
            var entry = seen[path] ?? Squares(sums: Array(repeating: 0, count: columns), rows: 0)
            for column in 0..<columns { entry.sums[column] += sums[column] }
            entry.rows += rows
            seen[path] = entry
        }
    }
}

extension Tensor {
    /// The sum of squares of each row of an f32 matrix.
    fileprivate func rowSquares() -> [Double] {
        let columns = shape[1]
        return (0..<shape[0]).map { rows($0..<$0 + 1).reshaped(columns).sumOfSquares() }
    }
}
