import CMoruKernels

// Mixtures of experts. Rows are computed by themselves, so that none depends on what else is in the batch.
extension CPUBackend {
    func route(
        _ logits: Tensor, _ options: RoutingOptions
    ) -> (probabilities: Tensor, weights: Tensor, choices: [Int32]) {
        let (rows, experts, used) = (logits.shape[0], logits.shape[1], options.expertsPerToken)
        let probabilities = Tensor(uninitialized: [rows, experts])
        let weights = Tensor(uninitialized: [rows, used])
        let choices = [Int32](unsafeUninitializedCapacity: rows * used) { choices, count in
            nonisolated(unsafe) let chosen = choices  // each range of rows writes its own elements
            forRows(rows, dim: experts * 4) { begin, end in
                kernels.softmax(logits.floats, probabilities.floats, experts, begin, end)
                for row in begin..<end {
                    choose(
                        probabilities.floats + row * experts, experts, options, weights.floats + row * used,
                        chosen.baseAddress! + row * used)
                }
            }
            count = rows * used
        }
        return (probabilities, weights, choices)
    }

    /// The most probable experts of a row, the highest first, and their weights.
    private func choose(
        _ probabilities: UnsafePointer<Float>, _ experts: Int, _ options: RoutingOptions,
        _ weights: UnsafeMutablePointer<Float>, _ choices: UnsafeMutablePointer<Int32>
    ) {
        let used = options.expertsPerToken
        var count = 0
        for expert in 0..<experts {
            let probability = probabilities[expert]
            if count == used, !(probability > weights[used - 1]) { continue }
            var place = count < used ? count : used - 1
            while place > 0, probability > weights[place - 1] {
                (weights[place], choices[place]) = (weights[place - 1], choices[place - 1])
                place -= 1
            }
            (weights[place], choices[place]) = (probability, Int32(expert))
            count = min(used, count + 1)
        }
        guard options.normalizesWeights else { return }
        var sum: Float = 0
        for k in 0..<used { sum += weights[k] }
        for k in 0..<used { weights[k] /= sum }
    }

    func groupRows(_ x: Tensor, _ rows: ExpertRows) -> Tensor {
        let y = Tensor(uninitialized: [rows.count, x.shape[1]], dtype: x.dtype)
        groupRows(
            x.bytes, rowBytes: x.shape[1] * x.dtype.blockBytes, rows, to: UnsafeMutableRawPointer(mutating: y.bytes))
        return withExtendedLifetime(x) { y }
    }

    func groupRows(_ x: UnsafeRawPointer, rowBytes: Int, _ rows: ExpertRows, to y: UnsafeMutableRawPointer) {
        forRows(rows.count, dim: rowBytes / 4) { begin, end in
            for place in begin..<end {
                (y + place * rowBytes).copyMemory(from: x + Int(rows.sources[place]) * rowBytes, byteCount: rowBytes)
            }
        }
    }

    func ungroupRows(_ x: Tensor, _ rows: ExpertRows, weights: Tensor?) -> Tensor {
        let y = Tensor(uninitialized: [rows.rowCount, x.shape[1]])
        ungroupRows(x.floats, dim: x.shape[1], rows, weights: weights?.floats, to: y.floats)
        return withExtendedLifetime((x, weights)) { y }
    }

    /// Adds up what a row's experts made of it, by ascending expert.
    func ungroupRows(
        _ x: UnsafePointer<Float>, dim: Int, _ rows: ExpertRows, weights: UnsafePointer<Float>?,
        to y: UnsafeMutablePointer<Float>
    ) {
        let used = rows.expertsPerRow
        forRows(rows.rowCount, dim: dim * used) { begin, end in
            for row in begin..<end {
                for k in 0..<used {
                    let place = Int(rows.positions[row * used + k])
                    let factor = weights.map { $0[Int(rows.choices[place])] } ?? 1
                    if k == 0 {
                        kernels.scale(x + place * dim, factor, y + row * dim, 0, dim)
                    } else {
                        kernels.add_scaled(x + place * dim, factor, y + row * dim, 0, dim)
                    }
                }
            }
        }
    }

    func ungroupRowsBackward(
        _ dy: Tensor, _ x: Tensor, _ rows: ExpertRows, weights: Tensor
    ) -> (x: Tensor, weights: Tensor) {
        let dim = x.shape[1]
        let (dx, dWeights) = (Tensor(uninitialized: x.shape), Tensor(uninitialized: weights.shape))
        forRows(rows.count, dim: dim * 2) { begin, end in
            for place in begin..<end {
                let (d, choice) = (dy.floats + Int(rows.sources[place]) * dim, Int(rows.choices[place]))
                let result = dx.floats + place * dim
                kernels.multiply(d, x.floats + place * dim, result, 0, dim)
                dWeights.floats[choice] = Float(kernels.sum(result, 0, dim))
                kernels.scale(d, weights.floats[choice], result, 0, dim)
            }
        }
        return (dx, dWeights)
    }

    func expertProducts(
        _ x: Tensor, _ groups: [Range<Int>], _ weights: [[Tensor]], as type: DType
    ) -> [Tensor] {
        // Which way a product goes depends on its own rows and weight alone
        let ways = weights.map { zip(groups, $0).map { packedWay($0.count, $1) } }
        let way = ways.joined().lazy.compactMap { $0 }.first
        let resultType = way == nil ? type : .f32
        let results = weights.map { Tensor(uninitialized: [x.shape[0], $0[0].shape[0]], dtype: resultType) }
        var few: [(part: Range<Int>, weight: Tensor, y: UnsafeMutablePointer<Float>)] = []
        var many: [[moru_gemm]] = []
        for (layer, y) in results.enumerated() {
            for (index, group) in groups.enumerated() {
                let weight = weights[layer][index]
                if ways[layer][index] != nil {
                    few.append((group, weight, y.floats + group.lowerBound * y.shape[1]))
                } else {
                    many.append([arguments(x.rows(group), weight, transposeB: true, y.rows(group))])
                }
            }
        }
        withExtendedLifetime((x, weights)) { runEach(many) }
        guard let way else { return results }
        let input = x.converted(to: .f32)
        multiplyFewRows(input.floats, rows: x.shape[0], few, way)
        return withExtendedLifetime(input) { results.map { $0.converted(to: type) } }
    }

    func sumOfExpertProducts(
        _ pairs: [(a: Tensor, weights: [Tensor])], _ groups: [Range<Int>], as type: DType
    ) -> Tensor {
        // Several products are added up in f32
        let c = Tensor(
            uninitialized: [pairs[0].a.shape[0], pairs[0].weights[0].shape[1]], dtype: pairs.count > 1 ? .f32 : type)
        let sums = groups.enumerated().map { index, group in
            pairs.enumerated().map { number, pair in
                var one = arguments(pair.a.rows(group), pair.weights[index], transposeB: false, c.rows(group))
                one.accumulate = number > 0
                return one
            }
        }
        withExtendedLifetime(pairs) { runEach(sums) }
        return c
    }

    /// Computes sums of products, each with rows and a C of its own; the threads share the columns of all, so that each
    /// part of a weight is read, and packed, by one of them.
    private func runEach(_ sums: [[moru_gemm]]) {
        let unit = Self.columnUnit
        let units = sums.map { ($0[0].n + unit - 1) / unit }
        let total = units.reduce(0, +)
        let work = sums.joined().reduce(0) { $0 + $1.m * $1.n * $1.k }
        let scratchBytes = scratchBytes(of: Array(sums.joined()))
        threads.forRanges(
            total, minimum: work < 1 << 16 ? total : 1, partsPerThread: 4, scratchBytes: scratchBytes
        ) { range, scratch in
            var start = 0
            for (sum, count) in zip(sums, units) {
                let part = range.clamped(to: start..<start + count)
                let end = min(sum[0].n, (part.upperBound - start) * unit)
                if !part.isEmpty {
                    for var one in sum { kernels.gemm(&one, 0, one.m, (part.lowerBound - start) * unit, end, scratch) }
                }
                start += count
            }
        }
    }
}
