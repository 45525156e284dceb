import MoruBase
import MoruModels
import Testing

@testable import MoruEngine

/// Everything that a generation said.
struct Answer: Equatable {
    var prompt: [TokenScore]?
    var tokens: [TokenScore] = []
    var reason: FinishReason?
    var usage: GenerationUsage?
    var ids: [Int32] { tokens.map(\.id) }

    /// What does not depend on who else asks: without how much was computed before.
    var withoutUsage: Answer {
        var answer = self
        answer.usage = nil
        return answer
    }

    /// What each request gets alone, from an engine that has known no other.
    static func alone(
        to requests: [GenerationRequest], _ model: any LanguageModel,
        _ configuration: EngineConfiguration = EngineConfiguration(speculation: .off, sharesPrefixes: false)
    ) async throws -> [Answer] {
        var answers: [Answer] = []
        for request in requests {
            answers.append(try await Engine(model: model, configuration: configuration).answer(request).withoutUsage)
        }
        return answers
    }
}

extension Engine {
    func answer(_ request: GenerationRequest) async throws -> Answer {
        var answer = Answer()
        for try await event in generate(request) {
            switch event {
            case .promptScored(let scores):
                #expect(answer.prompt == nil && answer.tokens.isEmpty)
                answer.prompt = scores
            case .token(let score): answer.tokens.append(score)
            case .finished(let reason, let usage): (answer.reason, answer.usage) = (reason, usage)
            }
        }
        return answer
    }

    /// Asks all requests at once, and expects of each the answer that it gets alone.
    ///
    /// - Parameters:
    ///   - circumstance: What else a failure tells.
    ///   - neighbour: Somebody beside each request, who may ask for the same.
    func expectAnswers(
        _ alone: [Answer], to requests: [GenerationRequest], _ circumstance: String = "",
        beside neighbour: @escaping @Sendable (_ index: Int) async throws -> Void = { _ in }
    ) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (index, request) in requests.enumerated() {
                group.addTask {
                    let answer = try await self.answer(request).withoutUsage
                    #expect(answer == alone[index], "request \(index) \(circumstance)")
                }
                group.addTask { try await neighbour(index) }
            }
            try await group.waitForAll()
        }
    }

    func code(_ request: GenerationRequest) async -> MoruError? {
        do {
            _ = try await answer(request)
            return nil
        } catch {
            return error as? MoruError
        }
    }
}

/// Waits until a condition holds, for at most some seconds.
func eventually(_ condition: () async -> Bool) async -> Bool {
    for _ in 0..<500 {
        if await condition() { return true }
        try? await Task.sleep(for: .milliseconds(10))
    }
    return false
}
