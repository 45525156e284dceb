import CMoruKernels
import MoruTestKit
import Testing

@Suite("Attention of a row in pieces of keys")
struct AttentionPieceTests {
    typealias Problem = AttentionTests.Problem

    /// The row's output, its pieces computed in parts of so many units: the heads that share keys, piece by piece.
    func answer(_ level: Level, _ problem: Problem, unitsAPart: Int = .max) -> [Float] {
        let rows = moru_row_attention_for(level.functions.level)!.pointee
        let share = problem.heads / problem.kvHeads
        var out = [Float](repeating: 7, count: problem.qStride), unused: [Float] = []
        AttentionTests().withArguments(problem, out: &out, logSum: &unused) { args in
            args.log_sum_exp = nil
            var (begin, end) = (0, 0)
            moru_attention_pieces(&args, &begin, &end)
            let outputs = problem.heads * problem.dim, units = (end - begin) * problem.kvHeads
            var parts = [Float](repeating: .nan, count: max(1, (end - begin) * outputs))
            var sums = [Float](repeating: .nan, count: max(1, (end - begin) * problem.heads))
            withScratch(rows.scratch_bytes(&args)) { scratch in
                parts.withUnsafeMutableBufferPointer { parts in
                    sums.withUnsafeMutableBufferPointer { sums in
                        // The last ones first: the order does not matter
                        for unit in stride(from: 0, to: units, by: min(units, unitsAPart)).reversed() {
                            var next = unit
                            let last = min(units, unit + min(units, unitsAPart))
                            while next < last {
                                let (piece, head) = next.quotientAndRemainder(dividingBy: problem.kvHeads)
                                let heads = head..<min(problem.kvHeads, head + last - next)
                                let whole = heads.count == problem.kvHeads ? (last - next) / problem.kvHeads : 1
                                rows.pieces(
                                    &args, begin + piece, begin + piece + whole, heads.lowerBound * share,
                                    heads.upperBound * share, parts.baseAddress! + piece * outputs,
                                    sums.baseAddress! + piece * problem.heads, scratch)
                                next += whole * heads.count
                            }
                        }
                    }
                }
            }
            moru_attention_join(&args, end - begin, parts, sums, 0, problem.heads)
        }
        return out
    }

    func randomProblem(_ random: inout Random, round: Int, allowBF16: Bool) -> Problem {
        var problem = Problem()
        problem.kvHeads = random.int(1...3)
        problem.heads = problem.kvHeads * random.int(1...7)
        problem.dim = round % 3 == 0 ? random.int(1...40) : 16 * random.int(1...8)
        problem.kvCount = random.int(1...(round % 2 == 0 ? 40 : 500))
        problem.first = random.int(0...3) == 0 ? random.int(0...problem.kvCount) : problem.kvCount - 1
        problem.causal = random.int(0...3) > 0
        problem.window = random.int(0...2) == 0 ? random.int(1...200) : 0
        problem.softcap = random.int(0...3) == 0 ? 2 : 0
        problem.pageTokens = round % 4 == 0 ? random.int(1...70) : 16 * random.int(1...5)
        problem.gap = round % 2 == 0 ? 0 : 3
        problem.kvType = [MORU_BF16, MORU_BF16, MORU_F32, MORU_Q8_0][round % 4]
        if problem.kvType == MORU_Q8_0 { problem.dim = (problem.dim + 31) / 32 * 32 }
        problem.allowBF16 = allowBF16
        problem.fill(&random)
        return problem
    }

    @Test("Random problems against the formula, in any parts the same", arguments: Level.all, [false, true])
    func formula(_ level: Level, allowBF16: Bool) {
        var random = Random(19)
        for round in 0..<32 {
            let problem = randomProblem(&random, round: round, allowBF16: allowBF16)
            let found = answer(level, problem)
            let tolerance = AttentionTests().tolerance(level, problem, exact: 3e-6)
            expectClose(found, problem.expected.out, tolerance: tolerance, "round \(round)")
            expectEqual(answer(level, problem, unitsAPart: random.int(1...7)), found, "round \(round) in parts")
        }
    }

    @Test("Pages of another size, and what lies beyond the row, change nothing", arguments: Level.all)
    func pages(_ level: Level) {
        var random = Random(20)
        var problem = Problem(first: 299, kvCount: 300, heads: 6, kvHeads: 2, dim: 64, pageTokens: 320, gap: 0)
        (problem.kvType, problem.allowBF16) = (MORU_BF16, true)
        problem.fill(&random)
        let whole = answer(level, problem)
        var paged = problem
        paged.pageTokens = 64
        expectEqual(answer(level, paged), whole)
        // A page may hold anything after the last key
        for i in problem.kvCount * problem.kvStride..<problem.k.count { (problem.k[i], problem.v[i]) = (.nan, .nan) }
        expectEqual(answer(level, problem), whole)
    }

    @Test("A number that is not finite is not lost", arguments: Level.all)
    func notFinite(_ level: Level) {
        var random = Random(21)
        var problem = Problem(first: 199, kvCount: 200, heads: 2, kvHeads: 2, dim: 32, pageTokens: 64, gap: 0)
        (problem.kvType, problem.allowBF16) = (MORU_BF16, true)
        problem.fill(&random)
        problem.k[150 * problem.kvStride + 3] = .nan  // of the first head
        let out = answer(level, problem)
        #expect(out[..<32].allSatisfy { $0.isNaN } && out[32...].allSatisfy { $0.isFinite })
    }
}
