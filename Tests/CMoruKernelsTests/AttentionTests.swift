import CMoruKernels
import Foundation
import MoruTestKit
import Testing

@Suite("Attention")
struct AttentionTests {
    /// One problem with its data; strides leave gaps, which must stay untouched.
    struct Problem {
        var rows = 1, first = 0, kvCount = 1, heads = 1, kvHeads = 1, dim = 8, pageTokens = 16, window = 0
        var causal = true
        var scale: Float = 0.3, softcap: Float = 0
        var gap = 3
        var ioType = MORU_F32, kvType = MORU_F32
        var allowBF16 = false
        /// What the stored values are, rounded to their types.
        var q: [Float] = [], k: [Float] = [], v: [Float] = []

        var qStride: Int { heads * dim + gap }
        /// Blocks of keys and values stay whole.
        var kvStride: Int { kvHeads * dim + (kvType == MORU_Q8_0 ? 32 : gap) }
        var pages: Int { (kvCount + pageTokens - 1) / pageTokens }

        mutating func fill(_ random: inout Random) {
            q = rounded(random.floats(rows * qStride, -2...2), ioType)
            k = rounded(random.floats(max(1, pages) * pageTokens * kvStride), kvType)
            v = rounded(random.floats(max(1, pages) * pageTokens * kvStride), kvType)
        }

        func sees(_ row: Int, _ key: Int) -> Bool {
            let position = first + row
            return !(causal && key > position) && (window == 0 || position - key < window)
        }

        func score(_ row: Int, _ head: Int, _ key: Int) -> Double {
            let kvHead = head / (heads / kvHeads)
            var sum = 0.0
            for i in 0..<dim {
                sum += Double(q[row * qStride + head * dim + i]) * Double(k[key * kvStride + kvHead * dim + i])
            }
            sum *= Double(scale)
            return softcap > 0 ? Double(softcap) * tanh(sum / Double(softcap)) : sum
        }

        /// Probabilities of one row and head, and the logarithm of their sum.
        func distribution(_ row: Int, _ head: Int) -> (p: [Double], logSum: Double) {
            let scores = (0..<kvCount).map { sees(row, $0) ? score(row, head, $0) : -Double.infinity }
            guard let largest = scores.max(), largest > -.infinity else {
                return ([Double](repeating: 0, count: kvCount), -.infinity)
            }
            let sum = scores.reduce(0) { $0 + exp($1 - largest) }
            return (scores.map { exp($0 - largest) / sum }, largest + log(sum))
        }

        /// The output, and the logarithms of each row's and head's sum.
        var expected: (out: [Double], logSum: [Double]) {
            let group = heads / kvHeads
            var out = [Double](repeating: 7, count: rows * qStride)
            var logSums: [Double] = []
            for row in 0..<rows {
                for head in 0..<heads {
                    let (p, logSum) = distribution(row, head)
                    logSums.append(logSum)
                    for i in 0..<dim {
                        var sum = 0.0
                        for j in 0..<kvCount where p[j] > 0 {
                            sum += p[j] * Double(v[j * kvStride + head / group * dim + i])
                        }
                        out[row * qStride + head * dim + i] = sum
                    }
                }
            }
            return (out, logSums)
        }
    }

    /// Calls `body` with the C structure for a problem.
    func withArguments(
        _ problem: Problem, out: inout [Float], logSum: inout [Float], _ body: (inout moru_attention) -> Void
    ) {
        // Rounded before, so that this keeps every value.
        let (q, k, v) = (
            stored(problem.q, problem.ioType), stored(problem.k, problem.kvType), stored(problem.v, problem.kvType)
        )
        var outBytes = stored(out, problem.ioType)
        let pageBytes = stored([Float](repeating: 0, count: problem.pageTokens * problem.kvStride), problem.kvType)
            .count
        q.withUnsafeBytes { q in
            k.withUnsafeBytes { k in
                v.withUnsafeBytes { v in
                    let starts = (0..<max(1, problem.pages)).map { $0 * pageBytes }
                    let kPages: [UnsafeRawPointer?] = starts.map { start in k.baseAddress.map { $0 + start } }
                    let vPages: [UnsafeRawPointer?] = starts.map { start in v.baseAddress.map { $0 + start } }
                    kPages.withUnsafeBufferPointer { kPages in
                        vPages.withUnsafeBufferPointer { vPages in
                            outBytes.withUnsafeMutableBytes { out in
                                logSum.withUnsafeMutableBufferPointer { logSum in
                                    var args = moru_attention()
                                    (args.rows, args.first_position) = (problem.rows, problem.first)
                                    args.kv_count = problem.kvCount
                                    (args.heads, args.kv_heads) = (problem.heads, problem.kvHeads)
                                    args.head_dim = problem.dim
                                    (args.q, args.q_row_stride) = (q.baseAddress, problem.qStride)
                                    (args.k_pages, args.v_pages) = (kPages.baseAddress, vPages.baseAddress)
                                    (args.page_tokens, args.kv_row_stride) = (problem.pageTokens, problem.kvStride)
                                    (args.causal, args.window) = (problem.causal, problem.window)
                                    (args.scale, args.softcap) = (problem.scale, problem.softcap)
                                    (args.out, args.out_row_stride) = (out.baseAddress, problem.qStride)
                                    args.log_sum_exp = logSum.baseAddress
                                    (args.io_type, args.kv_type) = (problem.ioType, problem.kvType)
                                    args.allow_bf16 = problem.allowBF16
                                    body(&args)
                                }
                            }
                        }
                    }
                }
            }
        }
        out = Activations(bytes: outBytes, type: problem.ioType).floats
    }

    func forward(_ level: Level, _ problem: Problem, rowSplit: Int = 0, headSplit: Int = 0) -> (
        out: [Float], logSum: [Float]
    ) {
        var out = [Float](repeating: 7, count: problem.rows * problem.qStride)
        var logSum = [Float](repeating: 7, count: problem.rows * problem.heads)
        withArguments(problem, out: &out, logSum: &logSum) { args in
            withScratch(level.functions.attention_scratch_bytes(&args)) { scratch in
                level.functions.attention(&args, 0, rowSplit, 0, problem.heads, scratch)
                level.functions.attention(&args, rowSplit, problem.rows, 0, headSplit, scratch)
                level.functions.attention(&args, rowSplit, problem.rows, headSplit, problem.heads, scratch)
            }
        }
        return (out, logSum)
    }

    func randomProblem(_ random: inout Random, round: Int, allowBF16: Bool) -> Problem {
        var problem = Problem()
        problem.kvHeads = random.int(1...3)
        problem.heads = problem.kvHeads * random.int(1...4)
        problem.dim = round % 3 == 0 ? random.int(1...40) : 8 * random.int(1...10)
        problem.rows = random.int(1...(round % 2 == 0 ? 3 : 80))
        problem.first = random.int(0...150)
        problem.kvCount = round % 5 == 0 ? random.int(0...200) : problem.first + problem.rows
        problem.causal = random.int(0...3) > 0
        problem.window = random.int(0...2) == 0 ? random.int(1...90) : 0
        problem.softcap = random.int(0...3) == 0 ? 2 : 0
        problem.pageTokens = round % 2 == 0 ? random.int(1...40) : 512
        problem.ioType = round % 7 < 4 ? MORU_F32 : MORU_BF16
        problem.kvType = [MORU_F32, MORU_BF16, MORU_Q8_0][round / 2 % 3]
        if problem.kvType == MORU_Q8_0 { problem.dim = (problem.dim + 31) / 32 * 32 }
        if round % 7 == 6 {
            // A whole sequence in bf16, as training has it
            (problem.kvHeads, problem.heads) = (1, round % 2 == 0 ? 2 : 1)
            (problem.dim, problem.rows, problem.pageTokens) = (32 * (3 - problem.heads), random.int(33...80), 512)
            (problem.first, problem.softcap) = (round % 2 == 0 ? 0 : random.int(1...40), 0)
            problem.kvCount = problem.first + problem.rows
            (problem.ioType, problem.kvType) = (MORU_BF16, MORU_BF16)
        }
        problem.allowBF16 = allowBF16
        problem.fill(&random)
        return problem
    }

    /// What a result may differ by: bf16 keeps 8 bits of an output, and of the factors of every product.
    func tolerance(_ level: Level, _ problem: Problem, exact: Double) -> Double {
        problem.allowBF16 && level.hasBF16 ? 2e-2 : problem.ioType == MORU_BF16 ? 8e-3 : exact
    }

    @Test("Random problems against the formula", arguments: Level.all, [false, true])
    func forwardFormula(_ level: Level, allowBF16: Bool) {
        var random = Random(3)
        for round in 0..<21 {
            let problem = randomProblem(&random, round: round, allowBF16: allowBF16)
            let (expected, expectedLog) = problem.expected
            let (out, logSum) = forward(
                level, problem, rowSplit: random.int(0...problem.rows), headSplit: random.int(0...problem.heads))
            expectClose(out, expected, tolerance: tolerance(level, problem, exact: 3e-6), "round \(round) out")
            let ofSums = allowBF16 && level.hasBF16 ? 2e-2 : 3e-6
            expectClose(logSum, expectedLog, tolerance: ofSums, "round \(round) log sum")
        }
    }

    @Test(
        "A row's answer does not depend on the rows, pages or heads beside it", arguments: Level.all,
        [(MORU_F32, false), (MORU_F32, true), (MORU_BF16, false), (MORU_BF16, true), (MORU_Q8_0, true)])
    func invariance(_ level: Level, _ form: (kvType: moru_dtype, allowBF16: Bool)) {
        var random = Random(8)
        var problem = Problem(
            rows: 70, first: 90, kvCount: 160, heads: 6, kvHeads: 2, dim: 64, pageTokens: 160, window: 0, gap: 0)
        (problem.kvType, problem.allowBF16) = (form.kvType, form.allowBF16)
        problem.fill(&random)
        let whole = forward(level, problem).out
        var paged = problem
        paged.pageTokens = 32
        expectEqual(forward(level, paged).out, whole)
        for row in [0, 1, 31, 32, 69] {
            var single = problem
            (single.rows, single.first, single.kvCount) = (1, problem.first + row, problem.first + row + 1)
            single.q = Array(problem.q[row * problem.qStride..<(row + 1) * problem.qStride])
            expectEqual(forward(level, single).out, Array(whole[row * problem.qStride..<(row + 1) * problem.qStride]))
        }
    }

    @Test("A row of a whole sequence in bf16 does not depend on the rows computed with it", arguments: Level.all)
    func wholeSequences(_ level: Level) {
        var random = Random(9)
        var problem = Problem(
            rows: 130, kvCount: 130, heads: 4, kvHeads: 2, dim: 32, pageTokens: 130, ioType: MORU_BF16,
            kvType: MORU_BF16, allowBF16: true)
        problem.fill(&random)
        let whole = forward(level, problem)
        for split in [32, 64, 96, 128] {
            let parts = forward(level, problem, rowSplit: split, headSplit: 1)
            expectEqual(parts.out, whole.out)
            expectEqual(parts.logSum, whole.logSum)
        }
        // Nor on what follows it
        var shorter = problem
        (shorter.rows, shorter.kvCount, shorter.pageTokens) = (75, 75, 75)
        shorter.q = Array(problem.q[..<(75 * problem.qStride)])
        let part = forward(level, shorter)
        expectEqual(part.out, Array(whole.out[..<(75 * problem.qStride)]))
        expectEqual(part.logSum, Array(whole.logSum[..<(75 * problem.heads)]))
    }

    @Test("Huge scores neither overflow nor leak", arguments: Level.all)
    func huge(_ level: Level) {
        var random = Random(4)
        var problem = Problem(
            rows: 4, first: 66, kvCount: 70, heads: 2, kvHeads: 1, dim: 16, pageTokens: 70, scale: 3000)
        problem.fill(&random)
        let (out, logSum) = forward(level, problem)
        for row in 0..<problem.rows {
            for head in 0..<problem.heads {
                let (p, _) = problem.distribution(row, head)
                let best = p.indices.max { p[$0] < p[$1] } ?? 0
                guard p[best] > 0.999999 else { continue }
                for i in 0..<problem.dim {
                    #expect(
                        abs(out[row * problem.qStride + head * 16 + i] - problem.v[best * problem.kvStride + i]) < 1e-4)
                }
            }
        }
        #expect(logSum.allSatisfy { $0.isFinite })
    }

    @Test("Gradients against the formula in double precision", arguments: Level.all, [false, true])
    func backward(_ level: Level, allowBF16: Bool) {
        var random = Random(13)
        for round in 0..<14 {
            var problem = randomProblem(&random, round: round, allowBF16: allowBF16)
            problem.softcap = round % 7 != 6 && round % 4 == 1 ? 2 : 0
            if problem.kvType == MORU_Q8_0 { problem.kvType = MORU_BF16 }
            problem.pageTokens = max(1, problem.kvCount)
            problem.fill(&random)
            let dim = problem.dim, group = problem.heads / problem.kvHeads
            let dOut = rounded(random.floats(problem.rows * problem.qStride), problem.ioType)
            let dOutBytes = stored(dOut, problem.ioType)
            var expectedQ = [Double](repeating: 7, count: problem.q.count)
            var expectedK = [Double](repeating: 7, count: problem.k.count), expectedV = expectedK
            for j in 0..<problem.kvCount {
                for i in 0..<problem.kvHeads * dim {
                    expectedK[j * problem.kvStride + i] = 0
                    expectedV[j * problem.kvStride + i] = 0
                }
            }
            for row in 0..<problem.rows {
                for head in 0..<problem.heads {
                    let at = row * problem.qStride + head * dim, kvAt = head / group * dim
                    let (p, _) = problem.distribution(row, head)
                    let dP = (0..<problem.kvCount).map { j in
                        (0..<dim).reduce(0.0) {
                            $0 + Double(dOut[at + $1]) * Double(problem.v[j * problem.kvStride + kvAt + $1])
                        }
                    }
                    let mean = zip(p, dP).reduce(0.0) { $0 + $1.0 * $1.1 }
                    for i in 0..<dim { expectedQ[at + i] = 0 }
                    for j in 0..<problem.kvCount {
                        var dS = Double(problem.scale) * p[j] * (dP[j] - mean)
                        if problem.softcap > 0, p[j] > 0 {
                            dS *= 1 - pow(problem.score(row, head, j) / Double(problem.softcap), 2)
                        }
                        let key = j * problem.kvStride + kvAt
                        for i in 0..<dim {
                            expectedQ[at + i] += dS * Double(problem.k[key + i])
                            expectedK[key + i] += dS * Double(problem.q[at + i])
                            expectedV[key + i] += p[j] * Double(dOut[at + i])
                        }
                    }
                }
            }
            var (out, logSum) = forward(level, problem)
            var dQ = stored([Float](repeating: 7, count: problem.q.count), problem.ioType)
            var dK = stored([Float](repeating: 7, count: problem.k.count), problem.ioType), dV = dK
            let split = random.int(0...problem.kvHeads)
            withArguments(problem, out: &out, logSum: &logSum) { args in
                dOutBytes.withUnsafeBytes { dOut in
                    dQ.withUnsafeMutableBytes { dQ in
                        dK.withUnsafeMutableBytes { dK in
                            dV.withUnsafeMutableBytes { dV in
                                var gradient = moru_attention_gradient(
                                    d_out: dOut.baseAddress, d_q: dQ.baseAddress, d_k: dK.baseAddress,
                                    d_v: dV.baseAddress)
                                withScratch(level.functions.attention_backward_scratch_bytes(&args)) { scratch in
                                    level.functions.attention_backward(&args, &gradient, 0, split, scratch)
                                    level.functions.attention_backward(
                                        &args, &gradient, split, problem.kvHeads, scratch)
                                }
                            }
                        }
                    }
                }
            }
            // Sums of many terms: relative to the largest.
            for (found, expected, name) in [(dQ, expectedQ, "dQ"), (dK, expectedK, "dK"), (dV, expectedV, "dV")] {
                expectClose(
                    Activations(bytes: found, type: problem.ioType).floats, expected,
                    tolerance: tolerance(level, problem, exact: 1e-5),
                    scale: allowBF16 ? max(1, expected.map(abs).max() ?? 1) : 1, "round \(round) \(name)")
            }
        }
    }
}
