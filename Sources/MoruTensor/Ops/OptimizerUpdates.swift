import CMoruKernels

/// The numbers of a Lion step (Chen et al., 2023).
public struct LionStep: Sendable {
    fileprivate let arguments: moru_lion

    /// Makes a step.
    public init(learningRate: Float, beta1: Float, beta2: Float, weightDecay: Float, gradientScale: Float = 1) {
        arguments = moru_lion(
            learning_rate: learningRate, beta1: beta1, beta2: beta2, weight_decay: weightDecay,
            gradient_scale: gradientScale)
    }
}

/// The numbers of a step of gradient descent; the weight decays through its gradient.
public struct SGDStep: Sendable {
    fileprivate let arguments: moru_sgd

    /// Makes a step.
    public init(
        learningRate: Float, momentum: Float, isNesterov: Bool = false, weightDecay: Float, gradientScale: Float = 1
    ) {
        arguments = moru_sgd(
            learning_rate: learningRate, momentum: momentum, weight_decay: weightDecay, gradient_scale: gradientScale,
            nesterov: isNesterov)
    }
}

/// The numbers of an Adafactor step (Shazeer and Stern, 2018), in the paper's terms.
public struct AdafactorStep: Sendable {
    /// The share of the new squares in the second moments, `1 - beta2(t)`.
    public var share: Float
    /// What the update is multiplied by before it is clipped and scaled by the parameter's size: `rho(t)`.
    public var rate: Float
    /// The share of the parameter that is taken away.
    public var decay: Float
    /// The least root of a second moment, and the least root mean square of a parameter.
    public var epsilon1: Float, epsilon2: Float
    /// The root mean square that an update is scaled down to.
    public var clipThreshold: Float
    /// What the gradient is multiplied by first.
    public var gradientScale: Float

    /// Makes a step.
    public init(
        share: Float, rate: Float, decay: Float, epsilon1: Float, epsilon2: Float, clipThreshold: Float,
        gradientScale: Float = 1
    ) {
        self.share = share
        self.rate = rate
        self.decay = decay
        self.epsilon1 = epsilon1
        self.epsilon2 = epsilon2
        self.clipThreshold = clipThreshold
        self.gradientScale = gradientScale
    }
}

extension Tensor {
    /// Moves this f32 tensor by a step of Lion, in place; `moment` has its shape.
    public mutating func step(_ step: LionStep, gradient: Tensor, moment: inout Tensor) {
        requireSameShape(self, gradient, "Lion")
        requireSameShape(self, moment, "Lion")
        makeUnique()
        moment.makeUnique()
        withUnsafePointer(to: step.arguments) { arguments in
            forElements { [self, moment] kernels, begin, end in
                kernels.lion(arguments, floats, gradient.floats, moment.floats, begin, end)
            }
        }
    }

    /// Moves this f32 tensor by a step of gradient descent, in place; `moment` has its shape, and is nil without
    /// momentum.
    public mutating func step(_ step: SGDStep, gradient: Tensor, moment: inout Tensor?) {
        requireSameShape(self, gradient, "gradient descent")
        makeUnique()
        moment?.makeUnique()
        if let moment { requireSameShape(self, moment, "gradient descent") }
        withUnsafePointer(to: step.arguments) { arguments in
            forElements { [self, moment] kernels, begin, end in
                kernels.sgd(arguments, floats, gradient.floats, moment?.floats, begin, end)
            }
        }
    }

    /// Moves this f32 tensor towards `scale * other` by a share of the way, in place.
    public mutating func approach(_ other: Tensor, by share: Float, scale: Float = 1) {
        requireSameShape(self, other, "approach")
        makeUnique()
        forElements { [self] kernels, begin, end in
            kernels.lerp(other.floats, scale, share, floats, begin, end)
        }
    }

    /// Turns this f32 tensor into `share * self + factor * other`, in place.
    public mutating func move(along other: Tensor, by factor: Float, keeping share: Float = 1) {
        requireSameShape(self, other, "move")
        makeUnique()
        forElements { [self] kernels, begin, end in
            if share != 1 { kernels.scale(floats, share, floats, begin, end) }
            kernels.add_scaled(other.floats, factor, floats, begin, end)
        }
    }

    private func forElements(_ body: (_ kernels: moru_kernels, _ begin: Int, _ end: Int) -> Void) {
        let runtime = Runtime.shared
        runtime.threads.forAlignedRanges(count, minimum: CPUBackend.grain) {
            body(runtime.kernels, $0.lowerBound, $0.upperBound)
        }
    }
}

extension Tensor {
    /// Moves this f32 tensor by a step of Adafactor, in place.
    ///
    /// A vector has a second moment for each element; anything else is a matrix of its last dimension's rows, which has
    /// one for each row and one for each column.
    ///
    /// - Parameters:
    ///   - gradient: Like this tensor.
    ///   - rows: Second moments of the rows, [rows]; unused for a vector.
    ///   - columns: Second moments of the columns, or of a vector's elements, [columns].
    public mutating func step(
        _ step: AdafactorStep, gradient: Tensor, rows: inout Tensor, columns: inout Tensor
    ) {
        requireSameShape(self, gradient, "Adafactor")
        let (rowCount, columnCount) = (rank > 1 ? count / max(1, shape[rank - 1]) : 1, columns.count)
        precondition(
            rowCount * columnCount == count && rows.count == rowCount,
            "Adafactor: \(shape) has no \(rows.count) rows of \(columnCount) columns")
        guard count > 0 else { return }
        let isFactored = rank > 1
        let parts = FixedParts(rowCount, rowElements: columnCount)
        let runtime = Runtime.shared
        let scale = max(step.epsilon2, Float((sumOfSquares() / Double(count)).squareRoot()))

        let (rowSums, columnSums) = (Tensor(uninitialized: [rowCount]), Tensor.zeros([parts.count, columnCount]))
        runtime.threads.run(parts.count) { part in
            let range = parts[part]
            runtime.kernels.adafactor_squares(
                gradient.floats, step.gradientScale, rowSums.floats, columnSums.floats + part * columnCount,
                columnCount, range.lowerBound, range.upperBound)
        }
        for part in 1..<max(1, parts.count) {
            runtime.kernels.add_scaled(columnSums.floats + part * columnCount, 1, columnSums.floats, 0, columnCount)
        }
        columns.approach(
            columnSums.rows(0..<1).reshaped(columns.shape), by: step.share, scale: 1 / Float(rowCount))
        var rowFactors = Tensor.ones([1])
        if isFactored {
            rows.approach(rowSums.reshaped(rows.shape), by: step.share, scale: 1 / Float(columnCount))
            let mean = Float(runtime.kernels.sum(rows.floats, 0, rowCount) / Double(rowCount))
            rowFactors = rows * (1 / max(mean, step.epsilon1))
        }

        makeUnique()
        let arguments = moru_adafactor(
            columns: columnCount, row_variance: rowFactors.floats, column_variance: columns.floats,
            epsilon: step.epsilon1, gradient_scale: step.gradientScale)
        withExtendedLifetime((rowFactors, columns, gradient)) {
            withUnsafePointer(to: arguments) { apply($0, step, gradient, parts, scale: scale) }
        }
    }

    private func apply(
        _ arguments: UnsafePointer<moru_adafactor>, _ step: AdafactorStep, _ gradient: Tensor, _ parts: FixedParts,
        scale: Float
    ) {
        let runtime = Runtime.shared
        var norms = [Double](repeating: 0, count: parts.count)
        norms.withUnsafeMutableBufferPointer { norms in
            nonisolated(unsafe) let norms = norms  // each part writes its own element
            runtime.threads.run(parts.count) { part in
                norms[part] = runtime.kernels.adafactor_norm(
                    arguments, gradient.floats, parts[part].lowerBound, parts[part].upperBound)
            }
        }
        let size = Float((norms.reduce(0, +) / Double(count)).squareRoot())
        let rate = step.rate * scale / max(1, size / step.clipThreshold)
        runtime.threads.run(parts.count) { part in
            runtime.kernels.adafactor_step(
                arguments, floats, gradient.floats, 1 - step.decay, rate, parts[part].lowerBound,
                parts[part].upperBound)
        }
    }
}

/// Rows in at most 16 parts, which depend on the matrix alone, so that no sum depends on the number of threads.
private struct FixedParts {
    let rows: Int
    let count: Int

    init(_ rows: Int, rowElements: Int) {
        self.rows = rows
        count = max(1, min(16, rows, rows * rowElements >> 14))
    }

    subscript(_ part: Int) -> Range<Int> { rows * part / count..<rows * (part + 1) / count }
}

extension Tensor {
    /// The nearest matrix whose singular values are all about 1, by a quintic Newton-Schulz iteration (Jordan et al.,
    /// 2024). Its coefficients trade exactness for speed: the singular values end between 0.7 and 1.2.
    ///
    /// The products round to bf16 where ``Runtime/precision`` allows it, as is usual for this.
    ///
    /// - Parameter steps: Iterations; 5 are usual.
    public func orthogonalized(steps: Int = 5) -> Tensor {
        precondition(rank == 2 && !isTracked, "orthogonalized: a matrix is needed, this tensor is \(shape)")
        let backend = Runtime.shared.backend
        let isTall = shape[0] > shape[1]
        var x = backend.scale(self, by: Float(1 / max(sumOfSquares().squareRoot(), 1e-7)))
        for _ in 0..<steps {
            let gram = backend.matmul(x, transposeA: isTall, x, transposeB: !isTall, alpha: 1, adding: nil)
            let polynomial = backend.matmul(
                gram, transposeA: false, gram, transposeB: false, alpha: 2.0315,
                adding: backend.scale(gram, by: -4.7750))
            let rest = backend.scale(x, by: 3.4445)
            x =
                isTall
                ? backend.matmul(x, transposeA: false, polynomial, transposeB: false, alpha: 1, adding: rest)
                : backend.matmul(polynomial, transposeA: false, x, transposeB: false, alpha: 1, adding: rest)
        }
        return x
    }
}
