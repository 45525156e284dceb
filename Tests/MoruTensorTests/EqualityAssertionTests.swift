import MoruTestKit
import Testing

/// What most tests of bit-equality rest on.
@Suite("Lists that differ are told by their first difference")
struct EqualityAssertionTests {
    @Test func equalListsHaveNoDifference() {
        #expect(difference([Float](), []) == nil)
        #expect(difference([1, 2, 3] as [Float], [1, 2, 3]) == nil)
        #expect(difference([0, 1, 2, 3].dropFirst(), [1, 2, 3]) == nil)
    }

    @Test func theFirstDifferenceIsTold() {
        #expect(difference([1, 2, 3], [1, 5, 4]) == "element 1 is 2, expected 5; 2 of 3 differ")
        #expect(difference([1, 2], [1, 2, 3]) == "2 elements, expected 3")
        #expect(difference([7, 2, 3], [1, 2]) == "3 elements, expected 2; element 0 is 7, expected 1; 1 of 3 differ")
        #expect(difference([Float.nan], [.nan]) == "element 0 is nan, expected nan; 1 of 1 differ")
    }
}
