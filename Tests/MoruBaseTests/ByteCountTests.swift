import MoruBase
import Testing

@Suite struct ByteCountTests {
    @Test(arguments: [
        (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (98_362_432, "98.4 MB"), (1_500_000_000_000_000, "1500.0 TB"),
    ])
    func sizesReadWell(bytes: Int, text: String) {
        #expect(ByteCount.text(bytes) == text)
    }
}
