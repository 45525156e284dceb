import MoruTensor
import Testing

@Suite struct RandomGeneratorTests {
    @Test func theSameSeedGivesTheSameNumbers() {
        var (a, b, c) = (RandomGenerator(seed: 1), RandomGenerator(seed: 1), RandomGenerator(seed: 2))
        let numbers = (0..<10).map { _ in a.next() }
        #expect(numbers == (0..<10).map { _ in b.next() })
        #expect(numbers != (0..<10).map { _ in c.next() })
    }

    @Test func momentsOfTheDistributions() {
        var generator = RandomGenerator(seed: 3)
        let count = 100_000
        let uniform = (0..<count).map { _ in Double(generator.uniform()) }
        #expect(uniform.allSatisfy { 0..<1 ~= $0 })
        #expect(abs(uniform.reduce(0, +) / Double(count) - 0.5) < 0.005)
        let normal = (0..<count).map { _ in Double(generator.normal()) }
        #expect(abs(normal.reduce(0, +) / Double(count)) < 0.015)
        #expect(abs(normal.reduce(0) { $0 + $1 * $1 } / Double(count) - 1) < 0.02)
    }
}
