import MoruTensor
import Testing

/// The worst disagreement between two lists of numbers.
public struct Disagreement: CustomStringConvertible {
    /// Which element differs most.
    public let index: Int
    /// Its two values.
    public let found, expected: Float

    /// Tells the element and its values.
    public var description: String { "element \(index) is \(found), expected \(expected)" }
}

/// The element of `found` that is furthest outside `absolute + relative * |expected|`; nil when all are within.
public func disagreement(
    _ found: [Float], _ expected: [Float], absolute: Float, relative: Float
) -> Disagreement? {
    var worst: (excess: Float, index: Int)?
    for (index, (f, e)) in zip(found, expected).enumerated() {
        let excess = abs(f - e) - (absolute + relative * abs(e))
        // A NaN compares false with everything, so ask whether the element is within instead of outside
        if !(excess <= 0), worst == nil || !(excess <= worst!.excess) { worst = (excess, index) }
    }
    return worst.map { Disagreement(index: $0.index, found: found[$0.index], expected: expected[$0.index]) }
}

/// Expects two lists of numbers to agree, and says which element does not.
public func expectClose(
    _ found: [Float], _ expected: [Float], absolute: Float = 1e-5, relative: Float = 1e-4, _ what: String = "",
    sourceLocation: SourceLocation = #_sourceLocation
) {
    #expect(found.count == expected.count, "\(what): counts differ", sourceLocation: sourceLocation)
    guard found.count == expected.count else { return }
    let worst = disagreement(found, expected, absolute: absolute, relative: relative)
    #expect(worst == nil, "\(what): \(worst.map { "\($0)" } ?? "")", sourceLocation: sourceLocation)
}

/// Expects two tensors to agree in shape and values.
public func expectClose(
    _ found: Tensor, _ expected: Tensor, absolute: Float = 1e-5, relative: Float = 1e-4, _ what: String = "",
    sourceLocation: SourceLocation = #_sourceLocation
) {
    #expect(found.shape == expected.shape, "\(what): shapes differ", sourceLocation: sourceLocation)
    expectClose(
        found.values(), expected.values(), absolute: absolute, relative: relative, what, sourceLocation: sourceLocation)
}

/// Checks a function's gradients against central differences at every element of every input.
///
/// - Parameters:
///   - inputs: f32 tensors, small: each element costs two evaluations.
///   - step: The half-distance of the differences.
///   - body: Computes a scalar.
public func expectGradients(
    at inputs: [Tensor], step: Float = 1e-2, absolute: Float = 2e-3, relative: Float = 2e-2, _ what: String = "",
    sourceLocation: SourceLocation = #_sourceLocation, _ body: @escaping ([Tensor]) -> Tensor
) {
    Runtime.withPrecision(.f32) {
        let (_, gradients) = valueAndGradients(at: inputs, body)
        for (position, input) in inputs.enumerated() {
            let values = input.values()
            let numeric = values.indices.map { index -> Float in
                func evaluate(_ delta: Float) -> Float {
                    var moved = values
                    moved[index] += delta
                    var all = inputs
                    all[position] = Tensor(moved, shape: input.shape)
                    return body(all).scalar
                }
                return (evaluate(step) - evaluate(-step)) / (2 * step)
            }
            expectClose(
                gradients[position].values(), numeric, absolute: absolute, relative: relative,
                "\(what) gradient of input \(position)", sourceLocation: sourceLocation)
        }
    }
}
