import MoruBase
import Testing

@testable import MoruEngine

@Suite("Admission control")
struct AdmissionControlTests {
    private func request(_ prompt: Int, _ maximum: Int) -> GenerationRequest {
        GenerationRequest(prompt: Array(repeating: 1, count: prompt), maximumTokens: maximum)
    }

    private func refusal(_ control: inout AdmissionControl, _ request: GenerationRequest) -> EngineOverload? {
        do throws(MoruError) {
            _ = try control.admit(request)
            return nil
        } catch {
            #expect(error.code == .engineOverloaded)
            return error.cause as? EngineOverload
        }
    }

    @Test("tokens that wait are bounded, and leaving makes room")
    func tokens() throws {
        var control = AdmissionControl(maximumTokens: 100, maximumSeconds: nil)
        // Where nothing waits, waiting is not too long
        let first = try control.admit(request(150, 10))
        #expect(first == 160 && control.waitingTokens == 160)
        control.note(tokens: 50, seconds: 1)
        let load = try #require(refusal(&control, request(20, 10)))
        #expect(load.waitingRequests == 1 && load.waitingTokens == 160 && load.tokensPerSecond == 50)
        // 90 tokens too many, at 50 a second
        #expect(load.retryAfterSeconds == 2 && control.refusedCount == 1)
        control.leave(first)
        #expect(try control.admit(request(20, 10)) == 30)
        #expect(try control.admit(request(60, 10)) == 70)
        #expect(refusal(&control, request(1, 1)) != nil)
    }

    @Test("the likely wait is bounded, by the rate of late and the usual length of answers")
    func seconds() throws {
        var control = AdmissionControl(maximumTokens: nil, maximumSeconds: 2)
        for _ in 0..<5 { _ = try control.admit(request(100, 1000)) }
        #expect(control.waitingTokens == 5 * 228)
        control.note(tokens: 1000, seconds: 1)
        _ = try control.admit(request(1000, 0))
        // 2140 tokens wait, 2000 take two seconds
        #expect(refusal(&control, request(1, 0))?.retryAfterSeconds == 1)
        for _ in 0..<200 { control.note(tokens: 100, seconds: 1) }
        let slow = try #require(refusal(&control, request(1, 0)))
        #expect((18...21).contains(slow.retryAfterSeconds))
        for _ in 0..<100 { control.note(answer: 10) }
        var fresh = AdmissionControl(maximumTokens: nil, maximumSeconds: 2)
        fresh.note(answer: 10)
        #expect(try fresh.admit(request(5, 1000)) == 15 && fresh.admit(request(5, 4)) == 9)
    }

    @Test("without bounds everything may wait")
    func unbounded() throws {
        var control = AdmissionControl(maximumTokens: nil, maximumSeconds: nil)
        control.note(tokens: 1, seconds: 1)
        for _ in 0..<1000 { _ = try control.admit(request(1000, 1000)) }
        #expect(control.waitingRequests == 1000 && control.refusedCount == 0)
    }
}
