import CMoruKernels
import MoruTestKit
import Testing

/// The fused row kernels over every combination of types, against their parts in f32.
@Suite("Fused rows")
struct FusedRowTests {
    static let sizes = [1, 16, 17, 33, 100]
    static let types = [MORU_F32, MORU_BF16]

    private func tolerance(_ type: moru_dtype) -> Double { type == MORU_BF16 ? 5e-3 : 5e-6 }

    @Test("Residual addition and RMS normalisation, and their gradient", arguments: Level.all, sizes)
    func addRMSNorm(_ level: Level, _ dim: Int) {
        var random = Random(UInt64(dim))
        let scalar = Level.all[0].functions, rows = 3, count = rows * dim
        let w = random.floats(dim, 0.5...2), start = random.floats(dim)
        for (xType, sumType, yType) in Self.types.flatMap({ a in
            Self.types.flatMap { b in Self.types.map { (a, b, $0) } }
        }) {
            let x = Activations(random.floats(count), type: xType)
            let residual = Activations(random.floats(count, -3...3), type: sumType)
            for hasResidual in [true, false] {
                let total = hasResidual ? rounded(zip(x.floats, residual.floats).map { $0 + $1 }, sumType) : x.floats
                var expected = [Float](repeating: 0, count: count), expectedInverse = [Float](repeating: 0, count: rows)
                scalar.rms_norm(total, w, 1e-5, &expected, &expectedInverse, dim, 0, rows)
                var sum = residual.bytes, y = stored([Float](repeating: 7, count: count), yType)
                var inverse = [Float](repeating: 7, count: rows)
                x.bytes.withUnsafeBytes { x in
                    w.withUnsafeBufferPointer { w in
                        sum.withUnsafeMutableBytes { sum in
                            y.withUnsafeMutableBytes { y in
                                inverse.withUnsafeMutableBufferPointer { inverse in
                                    var args = moru_add_rms_norm()
                                    (args.dim, args.epsilon, args.w) = (dim, 1e-5, w.baseAddress)
                                    (args.x, args.x_type) = (x.baseAddress, xType)
                                    args.sum_type = sumType
                                    if hasResidual {  // in place
                                        (args.residual, args.sum) = (UnsafeRawPointer(sum.baseAddress), sum.baseAddress)
                                    }
                                    (args.y, args.y_type) = (y.baseAddress, yType)
                                    args.inverse_rms = inverse.baseAddress
                                    level.functions.add_rms_norm(&args, 1, rows)
                                    level.functions.add_rms_norm(&args, 0, 1)
                                }
                            }
                        }
                    }
                }
                expectClose(dequantized(yType, y, count: count), doubles(expected), tolerance: tolerance(yType))
                expectClose(inverse, doubles(expectedInverse), tolerance: 2e-6)
                if hasResidual { #expect(dequantized(sumType, sum, count: count) == total) }
            }

            // The gradient: xType stands for that of dx, yType for that of dy.
            let dy = Activations(random.floats(count), type: yType),
                other = Activations(random.floats(count), type: xType)
            let total = residual.floats
            var ignored = [Float](repeating: 0, count: count), inverse = [Float](repeating: 0, count: rows)
            scalar.rms_norm(total, w, 1e-5, &ignored, &inverse, dim, 0, rows)
            var expected = [Float](repeating: 0, count: count), expectedDW = start
            scalar.rms_norm_backward(dy.floats, total, w, inverse, &expected, &expectedDW, dim, 0, rows)
            for (hasOther, isFrozen) in [(true, false), (false, true)] {
                var dx = hasOther ? other.bytes : stored([Float](repeating: 7, count: count), xType), dw = start
                var narrow = [UInt16](repeating: 7, count: count)
                dy.bytes.withUnsafeBytes { dy in
                    residual.bytes.withUnsafeBytes { sum in
                        dx.withUnsafeMutableBytes { dx in
                            dw.withUnsafeMutableBufferPointer { dw in
                                w.withUnsafeBufferPointer { w in
                                    inverse.withUnsafeBufferPointer { inverse in
                                        var args = moru_add_rms_norm_gradient()
                                        args.dim = dim
                                        (args.dy, args.dy_type) = (dy.baseAddress, yType)
                                        (args.sum, args.sum_type) = (sum.baseAddress, sumType)
                                        (args.w, args.inverse_rms) = (w.baseAddress, inverse.baseAddress)
                                        if hasOther { args.d_residual = UnsafeRawPointer(dx.baseAddress) }
                                        (args.dx, args.dx_type) = (dx.baseAddress, xType)
                                        if !isFrozen { args.dw = dw.baseAddress }
                                        narrow.withUnsafeMutableBytes { narrow in
                                            if isFrozen { args.dx_narrow = narrow.baseAddress }
                                            level.functions.add_rms_norm_backward(&args, 0, rows)
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
                let all = hasOther ? zip(expected, other.floats).map { Double($0 + $1) } : doubles(expected)
                expectClose(dequantized(xType, dx, count: count), all, tolerance: tolerance(xType))
                expectClose(dw, isFrozen ? doubles(start) : doubles(expectedDW), tolerance: 5e-6)
                let copy = dequantized(MORU_BF16, narrow.flatMap(little), count: count)
                if isFrozen {
                    expectClose(copy, all, tolerance: tolerance(MORU_BF16))
                } else {
                    #expect(narrow.allSatisfy { $0 == 7 })
                }
            }
        }
    }

    /// The functions, each with its scalar reference.
    static let functions: [(moru_activation, value: ScalarFunction, backward: ScalarGradient)] = [
        (MORU_SILU, { $0.silu($1, $2, 0, $3) }, { $0.silu_backward($1, $2, $3, 0, $4) }),
        (MORU_GELU, { $0.gelu($1, $2, false, 0, $3) }, { $0.gelu_backward($1, $2, $3, false, 0, $4) }),
        (MORU_GELU_TANH, { $0.gelu($1, $2, true, 0, $3) }, { $0.gelu_backward($1, $2, $3, true, 0, $4) }),
    ]
    typealias ScalarFunction =
        @Sendable (
            moru_kernels, UnsafePointer<Float>, UnsafeMutablePointer<Float>, Int
        ) -> Void
    typealias ScalarGradient =
        @Sendable (
            moru_kernels, UnsafePointer<Float>, UnsafePointer<Float>, UnsafeMutablePointer<Float>, Int
        ) -> Void

    @Test("A gate times what it gates, rows side by side, and its gradient in place", arguments: Level.all, sizes)
    func gated(_ level: Level, _ dim: Int) {
        var random = Random(UInt64(dim) + 50)
        let scalar = Level.all[0].functions, rows = 3, wide = 2 * dim + 5
        let kinds = Self.types.flatMap { a in Self.types.flatMap { b in Self.functions.map { (a, b, $0) } } }
        for (inType, outType, function) in kinds {
            let input = Activations(random.floats(rows * wide, -4...4), type: inType)
            let dy = Activations(random.floats(rows * dim), type: outType)
            var y = stored([Float](repeating: 7, count: rows * dim), outType), gradient = input.bytes, again = y
            let upOffset = dim * moru_block_bytes(inType)
            input.bytes.withUnsafeBytes { input in
                dy.bytes.withUnsafeBytes { dy in
                    y.withUnsafeMutableBytes { y in
                        gradient.withUnsafeMutableBytes { gradient in
                            var args = moru_gated()
                            args.function = function.0
                            (args.dim, args.input_type, args.output_type) = (dim, inType, outType)
                            (args.gate, args.up) = (input.baseAddress, input.baseAddress! + upOffset)
                            (args.input_row_stride, args.output_row_stride) = (wide, dim)
                            (args.y, args.dy) = (y.baseAddress, dy.baseAddress)
                            level.functions.gated_rows(&args, 0, rows)
                            args.gate = UnsafeRawPointer(gradient.baseAddress)
                            args.up = UnsafeRawPointer(gradient.baseAddress! + upOffset)
                            (args.d_gate, args.d_up) = (gradient.baseAddress, gradient.baseAddress! + upOffset)
                            again.withUnsafeMutableBytes { again in
                                args.y = again.baseAddress
                                level.functions.gated_rows_backward(&args, 0, rows)
                            }
                        }
                    }
                }
            }
            expectEqual(again, y, "the gradient computes the result again")
            let found = dequantized(outType, y, count: rows * dim)
            let foundGradient = dequantized(inType, gradient, count: rows * wide)
            for row in 0..<rows {
                let gate = Array(input.floats[row * wide..<row * wide + dim])
                let up = Array(input.floats[row * wide + dim..<row * wide + 2 * dim])
                let d = Array(dy.floats[row * dim..<(row + 1) * dim])
                var expected = [Float](repeating: 0, count: dim), dGate = expected, dUp = expected
                function.value(scalar, gate, &expected, dim)
                dUp = zip(expected, d).map { $0 * $1 }
                expected = zip(expected, up).map { $0 * $1 }
                function.backward(scalar, zip(d, up).map { $0 * $1 }, gate, &dGate, dim)
                expectClose(
                    Array(found[row * dim..<(row + 1) * dim]), doubles(expected), tolerance: tolerance(outType))
                expectClose(
                    Array(foundGradient[row * wide..<row * wide + 2 * dim]), doubles(dGate + dUp),
                    tolerance: tolerance(inType))
                // What lies between the rows is left alone.
                let gap = row * wide + 2 * dim..<(row + 1) * wide
                #expect(foundGradient[gap] == input.floats[gap])
            }
        }
    }

    @Test(
        "Rotary embedding of parts of rows, in place", arguments: Level.all,
        [(8, 8), (64, 64), (40, 20), (13, 6), (96, 34)])
    func rope(_ level: Level, _ size: (headDim: Int, rotated: Int)) {
        var random = Random(UInt64(size.headDim))
        let scalar = Level.all[0].functions, rows = 3, heads = 2, width = heads * size.headDim, stride = width + 9
        let half = size.rotated / 2
        let angles = random.floats(rows * half, -3...3)
        let cosines = rounded(angles, MORU_F32).map { 1 - $0 * $0 / 20 }, sines = angles.map { $0 / 3 }
        for type in Self.types {
            for (interleaved, inverse) in [(false, false), (false, true), (true, false), (true, true)] {
                let x = Activations(random.floats(rows * stride), type: type)
                var y = x.bytes
                y.withUnsafeMutableBytes { y in
                    cosines.withUnsafeBufferPointer { cosines in
                        sines.withUnsafeBufferPointer { sines in
                            var args = moru_rope()
                            (args.heads, args.head_dim, args.rotated) = (heads, size.headDim, size.rotated)
                            (args.x, args.y, args.type) = (UnsafeRawPointer(y.baseAddress), y.baseAddress, type)
                            (args.x_row_stride, args.y_row_stride) = (stride, stride)
                            (args.cosines, args.sines) = (cosines.baseAddress, sines.baseAddress)
                            (args.interleaved, args.inverse) = (interleaved, inverse)
                            level.functions.rope_rows(&args, 1, rows)
                            level.functions.rope_rows(&args, 0, 1)
                        }
                    }
                }
                let found = dequantized(type, y, count: rows * stride)
                for row in 0..<rows {
                    let part = row * stride..<row * stride + width
                    var expected = [Float](repeating: 0, count: width)
                    scalar.rope(
                        Array(x.floats[part]), Array(cosines[row * half..<(row + 1) * half]),
                        Array(sines[row * half..<(row + 1) * half]), &expected, heads, size.headDim, size.rotated,
                        interleaved, inverse, 0, 1)
                    expectClose(Array(found[part]), doubles(expected), tolerance: tolerance(type))
                    expectEqual(
                        found[part.upperBound..<(row + 1) * stride], x.floats[part.upperBound..<(row + 1) * stride])
                }
            }
        }
    }

    @Test("What follows products in an encoder", arguments: Level.all, sizes)
    func biased(_ level: Level, _ dim: Int) {
        var random = Random(UInt64(dim))
        let scalar = Level.all[0].functions, rows = 3, stride = dim + 5
        let x = random.floats(rows * stride, -4...4), bias = random.floats(dim)
        let functions = [MORU_SILU, MORU_GELU, MORU_GELU_TANH, MORU_RELU, MORU_TANH, MORU_IDENTITY]
        for (function, type) in functions.flatMap({ f in Self.types.map { (f, $0) } }) {
            for hasBias in [true, false] {
                func run(_ kernels: moru_kernels) -> [Float] {
                    var y = stored([Float](repeating: 7, count: rows * stride), type)
                    x.withUnsafeBufferPointer { x in
                        bias.withUnsafeBufferPointer { bias in
                            y.withUnsafeMutableBytes { y in
                                var args = moru_biased_activation()
                                (args.function, args.dim) = (function, dim)
                                (args.x, args.x_row_stride) = (x.baseAddress, stride)
                                if hasBias { args.bias = bias.baseAddress }
                                (args.y, args.y_row_stride, args.y_type) = (y.baseAddress, stride, type)
                                kernels.biased_activation(&args, 1, rows)
                                kernels.biased_activation(&args, 0, 1)
                            }
                        }
                    }
                    return dequantized(type, y, count: rows * stride)
                }
                let expected = run(scalar)
                expectClose(run(level.functions), doubles(expected), tolerance: tolerance(type))
                // What lies between the rows stays
                #expect(expected[dim] == 7 && run(level.functions)[dim..<stride].allSatisfy { $0 == 7 })
            }
        }
        let w = random.floats(dim, 0.5...2), b = random.floats(dim), start = random.floats(rows * dim, -4...4)
        for (hasBias, type) in [true, false].flatMap({ has in Self.types.map { (has, $0) } }) {
            func run(_ kernels: moru_kernels) -> (x: [Float], copy: [Float]) {
                var x = start, copy = stored([Float](repeating: 7, count: rows * dim), type)
                x.withUnsafeMutableBufferPointer { x in
                    bias.withUnsafeBufferPointer { bias in
                        w.withUnsafeBufferPointer { w in
                            b.withUnsafeBufferPointer { b in
                                copy.withUnsafeMutableBytes { copy in
                                    var args = moru_biased_layer_norm()
                                    (args.dim, args.x, args.epsilon) = (dim, x.baseAddress, 1e-5)
                                    (args.w, args.b) = (w.baseAddress, hasBias ? b.baseAddress : nil)
                                    if hasBias { args.bias = bias.baseAddress }
                                    (args.copy, args.copy_type) = (copy.baseAddress, type)
                                    kernels.biased_layer_norm(&args, 0, rows)
                                }
                            }
                        }
                    }
                }
                return (x, dequantized(type, copy, count: rows * dim))
            }
            let (expected, found) = (run(scalar), run(level.functions))
            expectClose(found.x, doubles(expected.x), tolerance: 1e-5)
            expectClose(found.copy, doubles(expected.x), tolerance: tolerance(type) * 2)
        }
    }
}
