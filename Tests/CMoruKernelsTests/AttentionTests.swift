import CMoruKernels
import Foundation
import Testing

@Suite("Attention")
struct AttentionTests {
    /// One problem with its data; strides leave gaps, which must stay untouched.
    struct Problem {
        var rows = 1, first = 0, kvCount = 1, heads = 1, kvHeads = 1, dim = 8, pageTokens = 16, window = 0
        var causal = true
        var scale: Float = 0.3, softcap: Float = 0
        var gap = 3
        var q: [Float] = [], k: [Float] = [], v: [Float] = []

        var qStride: Int { heads * dim + gap }
        var kvStride: Int { kvHeads * dim + gap }
        var pages: Int { (kvCount + pageTokens - 1) / pageTokens }

        mutating func fill(_ random: inout Random) {
            q = random.floats(rows * qStride, -2...2)
            k = random.floats(max(1, pages) * pageTokens * kvStride)
            v = random.floats(max(1, pages) * pageTokens * kvStride)
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
    }

    /// Calls `body` with the C structure for a problem.
    func withArguments(
        _ problem: Problem, out: inout [Float], logSum: inout [Float], _ body: (inout moru_attention) -> Void
    ) {
        problem.q.withUnsafeBufferPointer { q in
            problem.k.withUnsafeBufferPointer { k in
                problem.v.withUnsafeBufferPointer { v in
                    let pageSize = problem.pageTokens * problem.kvStride
                    let starts = (0..<max(1, problem.pages)).map { $0 * pageSize }
                    let kPages: [UnsafePointer<Float>?] = starts.map { start in k.baseAddress.map { $0 + start } }
                    let vPages: [UnsafePointer<Float>?] = starts.map { start in v.baseAddress.map { $0 + start } }
                    kPages.withUnsafeBufferPointer { kPages in
                        vPages.withUnsafeBufferPointer { vPages in
                            out.withUnsafeMutableBufferPointer { out in
                                logSum.withUnsafeMutableBufferPointer { logSum in
                                    var args = moru_attention(
                                        rows: problem.rows, first_position: problem.first, kv_count: problem.kvCount,
                                        heads: problem.heads, kv_heads: problem.kvHeads, head_dim: problem.dim,
                                        q: q.baseAddress, q_row_stride: problem.qStride, k_pages: kPages.baseAddress,
                                        v_pages: vPages.baseAddress, page_tokens: problem.pageTokens,
                                        kv_row_stride: problem.kvStride, causal: problem.causal,
                                        window: problem.window, scale: problem.scale, softcap: problem.softcap,
                                        out: out.baseAddress, out_row_stride: problem.qStride,
                                        log_sum_exp: logSum.baseAddress)
                                    body(&args)
                                }
                            }
                        }
                    }
                }
            }
        }
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

    func randomProblem(_ random: inout Random, round: Int) -> Problem {
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
        problem.fill(&random)
        return problem
    }

    @Test("Random problems against the formula", arguments: Level.all)
    func forwardFormula(_ level: Level) {
        var random = Random(3)
        for round in 0..<30 {
            let problem = randomProblem(&random, round: round)
            let dim = problem.dim, group = problem.heads / problem.kvHeads
            var expected = [Double](repeating: 7, count: problem.rows * problem.qStride)
            var expectedLog: [Double] = []
            for row in 0..<problem.rows {
                for head in 0..<problem.heads {
                    let (p, logSum) = problem.distribution(row, head)
                    expectedLog.append(logSum)
                    for i in 0..<dim {
                        var sum = 0.0
                        for j in 0..<problem.kvCount where p[j] > 0 {
                            sum += p[j] * Double(problem.v[j * problem.kvStride + head / group * dim + i])
                        }
                        expected[row * problem.qStride + head * dim + i] = sum
                    }
                }
            }
            let (out, logSum) = forward(
                level, problem, rowSplit: random.int(0...problem.rows), headSplit: random.int(0...problem.heads))
            expectClose(out, expected, tolerance: 3e-6, "round \(round) out")
            expectClose(logSum, expectedLog, tolerance: 3e-6, "round \(round) log sum")
        }
    }

    @Test("A row's answer does not depend on the rows, pages or heads beside it", arguments: Level.all)
    func invariance(_ level: Level) {
        var random = Random(8)
        var problem = Problem(
            rows: 70, first: 90, kvCount: 160, heads: 6, kvHeads: 2, dim: 64, pageTokens: 160, window: 0, gap: 0)
        problem.fill(&random)
        let whole = forward(level, problem).out
        var paged = problem
        paged.pageTokens = 32
        #expect(forward(level, paged).out == whole)
        for row in [0, 1, 31, 32, 69] {
            var single = problem
            (single.rows, single.first, single.kvCount) = (1, problem.first + row, problem.first + row + 1)
            single.q = Array(problem.q[row * problem.qStride..<(row + 1) * problem.qStride])
            #expect(forward(level, single).out == Array(whole[row * problem.qStride..<(row + 1) * problem.qStride]))
        }
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

    @Test("Gradients against the formula in double precision", arguments: Level.all)
    func backward(_ level: Level) {
        var random = Random(13)
        for round in 0..<14 {
            var problem = randomProblem(&random, round: round)
            problem.softcap = 0
            problem.pageTokens = max(1, problem.kvCount)
            problem.fill(&random)
            let dim = problem.dim, group = problem.heads / problem.kvHeads
            let dOut = random.floats(problem.rows * problem.qStride)
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
                        let dS = Double(problem.scale) * p[j] * (dP[j] - mean), key = j * problem.kvStride + kvAt
                        for i in 0..<dim {
                            expectedQ[at + i] += dS * Double(problem.k[key + i])
                            expectedK[key + i] += dS * Double(problem.q[at + i])
                            expectedV[key + i] += p[j] * Double(dOut[at + i])
                        }
                    }
                }
            }
            var (out, logSum) = forward(level, problem)
            var dQ = [Float](repeating: 7, count: problem.q.count)
            var dK = [Float](repeating: 7, count: problem.k.count), dV = dK
            let split = random.int(0...problem.kvHeads)
            withArguments(problem, out: &out, logSum: &logSum) { args in
                dOut.withUnsafeBufferPointer { dOut in
                    dQ.withUnsafeMutableBufferPointer { dQ in
                        dK.withUnsafeMutableBufferPointer { dK in
                            dV.withUnsafeMutableBufferPointer { dV in
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
            expectClose(dQ, expectedQ, tolerance: 1e-5, "round \(round) dQ")
            expectClose(dK, expectedK, tolerance: 1e-5, "round \(round) dK")
            expectClose(dV, expectedV, tolerance: 1e-5, "round \(round) dV")
        }
    }
}
