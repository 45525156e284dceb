import MoruBase
import MoruTensor
import MoruTestKit
import Testing

/// The real SmolLM2 file, when `MORU_TEST_MODELS` names a folder that has it.
@Suite struct RealModelFileTests {
    @Test(.enabled(if: TestNeeds.smolLM2 != nil, "MORU_TEST_MODELS has no SmolLM2-135M-Instruct.Q4_1.gguf"))
    func opensInMilliseconds() throws {
        let path = try #require(TestNeeds.smolLM2)
        var best = Duration.seconds(100)
        for _ in 0..<5 {
            let start = ContinuousClock.now
            let file = try GGUFFile(path: path)
            best = min(best, ContinuousClock.now - start)
            #expect(file.metadata["general.architecture"]?.string == "llama")
            #expect(file.metadata["tokenizer.ggml.tokens"]?.strings?.count == 49152)
        }
        print("SmolLM2 GGUF opened in \(best)")
        #expect(best < .milliseconds(500))
    }

    @Test(
        .enabled(
            if: TestNeeds.smolLM2 != nil && TestNeeds.python != nil,
            "MORU_TEST_MODELS and MORU_TEST_PYTHON are both needed"))
    func namesShapesAndValuesAreThoseOfTheReference() throws {
        let path = try #require(TestNeeds.smolLM2)
        let file = try GGUFFile(path: path)
        let expected = try #require(Goldens.json(printedBy: "formats.py", ["values", path]).object)
        #expect(file.names == expected.keys)
        for (name, tensor) in expected.members {
            let info = try #require(file.info(name))
            #expect(info.format == tensor["format"]?.string)
            #expect(info.shape == tensor["shape"]?.array?.compactMap(\.int))
            let values = try file.tensor(name).values()
            let middle = values.count / 2
            let picked = values[..<8] + values[middle..<(middle + 8)] + values[(values.count - 8)...]
            let wanted = tensor["values"]?.array?.compactMap(\.double) ?? []
            #expect(wanted.count == picked.count)
            for (ours, theirs) in zip(picked, wanted) {
                #expect(abs(Double(ours) - theirs) <= 1e-6 * max(abs(theirs), 1), "\(name)")
            }
        }
    }
}
