import MoruBase
import MoruTensor
import Testing

@testable import MoruTraining

@Suite
struct IndexPermutationTests {
    @Test(arguments: [0, 1, 2, 3, 5, 64, 65, 1000, 4096, 70_001])
    func everyNumberOccursOnce(count: Int) {
        let permutation = IndexPermutation(count: count, seed: 9)
        let numbers = (0..<count).map { permutation[$0] }
        #expect(numbers.sorted() == Array(0..<count))
        if count > 60 {
            #expect(numbers != Array(0..<count))
            #expect(numbers != (0..<count).map { IndexPermutation(count: count, seed: 10)[$0] })
        }
    }

    /// Over many seeds, each number comes about equally often at each place: chi-squared of 49 cells with (7-1)^2
    /// degrees of freedom is below 80 but for one time in 30,000.
    @Test func placesAreUniform() {
        let (count, seeds) = (7, 7_000)
        var cells = Array(repeating: 0, count: count * count)
        for seed in 0..<seeds {
            let permutation = IndexPermutation(count: count, seed: UInt64(seed))
            for place in 0..<count { cells[place * count + permutation[place]] += 1 }
        }
        let expected = Double(seeds) / Double(count)
        let chiSquared = cells.reduce(0) { $0 + (Double($1) - expected) * (Double($1) - expected) / expected }
        #expect(chiSquared < 80, "\(chiSquared)")
    }

    /// Neighbours in the order are no neighbours in the data: the mean distance of random pairs is a third of the range.
    @Test func neighboursAreFarApart() {
        let permutation = IndexPermutation(count: 10_000, seed: 3)
        let distances = (1..<10_000).map { abs(permutation[$0] - permutation[$0 - 1]) }
        let mean = Double(distances.reduce(0, +)) / 9_999 / 10_000
        #expect(abs(mean - 1.0 / 3) < 0.02, "\(mean)")
    }
}

@Suite
struct EpochOrderTests {
    private func epoch(_ order: EpochOrder, _ number: Int) -> [Int] {
        (0..<order.length).map { order.example(epoch: number, index: $0) }
    }

    @Test func withoutWeightsAnEpochIsEveryExampleOnce() throws {
        let order = try EpochOrder([.init(count: 5), .init(count: 90), .init(count: 1)], seed: 4)
        let (first, second) = (epoch(order, 0), epoch(order, 1))
        #expect(first.sorted() == Array(0..<96) && second.sorted() == Array(0..<96))
        #expect(first != second)
        #expect(epoch(EpochOrder(count: 96, seed: 5), 0) != epoch(EpochOrder(count: 96, seed: 6), 0))
    }

    @Test func weightsShareAnEpochToTheExample() throws {
        let parts: [EpochOrder.Part] = [.init(count: 100, weight: 1), .init(count: 30, weight: 3)]
        let largest = try EpochOrder(parts, seed: 4)
        #expect(largest.shares == [100, 300])
        let numbers = epoch(largest, 0)
        #expect(Set(numbers.filter { $0 < 100 }).count == 100)
        let small = numbers.filter { $0 >= 100 }
        #expect(small.count == 300 && (100..<130).allSatisfy { number in small.count { $0 == number } == 10 })
        let smallest = try EpochOrder(parts, end: .smallest, seed: 4)
        #expect(smallest.shares == [10, 30])
        // ten epochs of the smallest source are one pass over the other
        let drawn = (0..<10).flatMap { epoch(smallest, $0).filter { $0 < 100 } }
        #expect(drawn.sorted() == Array(0..<100))
        #expect((0..<3).allSatisfy { Set(epoch(smallest, $0)).count == 40 })
    }

    @Test func weightsNeedNotDivide() throws {
        let parts: [EpochOrder.Part] = [.init(count: 7, weight: 0.7), .init(count: 11, weight: 1), .init(count: 4)]
        let order = try EpochOrder(parts, seed: 1)
        #expect(order.length == 30 && order.shares == [8, 11, 11])
        let shares = order.shares.map { Double($0) / Double(order.length) }
        for (share, weight) in zip(shares, [0.7, 1, 1]) { #expect(abs(share - weight / 2.7) < 1.0 / 27) }
        #expect(Set(epoch(order, 0)).count == 22)
    }

    @Test func impossibleMixturesAreRefused() {
        expectError(.dataMixture, "source 2 has the weight 0.0") {
            _ = try EpochOrder([.init(count: 1), .init(count: 1, weight: 0)], seed: 0)
        }
        expectError(.dataMixture, "source 1 has no examples") {
            _ = try EpochOrder([.init(count: 0, weight: 2), .init(count: 1)], seed: 0)
        }
        expectError(.dataMixture, "an epoch has", "closer together") {
            _ = try EpochOrder([.init(count: 1, weight: 1e-30), .init(count: 1)], seed: 0)
        }
    }

    @Test func aWalkGoesOnFromASavedPlace() throws {
        let order = try EpochOrder([.init(count: 5, weight: 1), .init(count: 9, weight: 1)], seed: 8)
        var whole = ExampleStream(order)
        let expected = (0..<60).compactMap { _ in whole.next() }
        for stop in [0, 1, 17, 18, 19, 36, 59] {
            var first = ExampleStream(order)
            for number in expected.prefix(stop) { #expect(first.next() == number) }
            let saved = try #require(DataPosition(json: JSON.parse(first.position.json.text(), source: "state")))
            #expect(saved == first.position)
            var second = try ExampleStream(order, from: saved)
            #expect((stop..<60).compactMap { _ in second.next() } == Array(expected.dropFirst(stop)))
        }
        expectError(.dataMixture, "seed 9") {
            _ = try ExampleStream(order, from: DataPosition(seed: 9, epoch: 0, index: 0))
        }
        #expect(DataPosition(json: ["seed": "1", "epoch": -1, "index": 0]) == nil)
        var none = ExampleStream(EpochOrder(count: 0, seed: 0))
        #expect(none.next() == nil)
    }
}
