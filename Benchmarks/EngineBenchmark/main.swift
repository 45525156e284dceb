// Times the engine on a real model: what a caller of `Engine.generate` sees, from text to tokens.
//
//     swift run -c release EngineBenchmark decode|prefill|after-prompt|batch|adapters|lookup|accuracy|embed|scheduler MODEL
//         [--tokens N] [--rounds N] [--speculation off|lookup] [--adapter DIRECTORY] [--text FILE]
//
//     decode        one stream after a short prompt: tokens a second after the first
//     prefill       one prompt of N tokens: prompt tokens a second
//     after-prompt  one stream of N tokens after a prompt of 512
//     batch         8 streams of N tokens together: tokens a second in total
//     adapters      the same, each stream with a LoRA adapter of its own, and in turn without
//     lookup        one stream that is asked for an edited copy of a passage, with speculation by prompt lookup
//     embed         32 sentences of 32 tokens: sentences a second that all-MiniLM-L6-v2 turns into vectors
//     scheduler     a step of the scheduler alone with 64 sequences that decode, in microseconds; MODEL is not opened
//     accuracy      the perplexity of prose in f32, as prompts are read, and token by token as answers are computed; with
//                   --adapter instead what a LoRA adapter in PEFT's layout loses by being computed in bf16, token by token
//
// All but lookup run without speculation, unless --speculation lookup asks for it. Each round prints a line of JSON.
// Outputs are checked in the same run: rounds repeat each other, together equals alone, speculating equals plain; a
// difference ends the program with an error. CPU seconds are those of all threads, spinning included.

import Foundation
import MoruBase
import MoruEngine
import MoruModels
import MoruNN
import MoruTensor
import MoruText

struct BenchmarkFailure: Error, CustomStringConvertible {
    let description: String
}

/// What the command line asks for.
struct Options {
    var benchmark: Benchmark
    var model: String
    var tokens: Int
    var rounds: Int
    var speculation: Speculation
    var adapter: String?
    /// What prompts are made of, instead of prose of the benchmark's own.
    var text: String?

    init(_ arguments: [String]) throws {
        var rest: [String] = []
        var given: [String: String] = [:]
        var index = 0
        while index < arguments.count {
            if arguments[index].hasPrefix("--") {
                guard index + 1 < arguments.count, Self.known.contains(arguments[index]) else {
                    throw BenchmarkFailure(description: "\(arguments[index]) is unknown or has no value")
                }
                given[arguments[index]] = arguments[index + 1]
                index += 2
            } else {
                rest.append(arguments[index])
                index += 1
            }
        }
        guard rest.count == 2, let benchmark = Benchmark(rawValue: rest[0]) else {
            let names = Benchmark.allCases.map(\.rawValue).joined(separator: "|")
            throw BenchmarkFailure(
                description: "usage: EngineBenchmark \(names) MODEL \(Self.known.joined(separator: " X ")) X")
        }
        func number(_ name: String, default fallback: Int) throws -> Int {
            guard let text = given[name] else { return fallback }
            guard let number = Int(text), number > 0 else {
                throw BenchmarkFailure(description: "\(name) \(text) is not a number above 0")
            }
            return number
        }
        self.benchmark = benchmark
        model = rest[1]
        tokens = try number("--tokens", default: benchmark == .prefill ? 512 : 128)
        rounds = try number("--rounds", default: 5)
        text = try given["--text"].map { try String(contentsOfFile: $0, encoding: .utf8) }
        guard let speculation = Speculation(rawValue: given["--speculation"] ?? benchmark.speculation.rawValue) else {
            throw BenchmarkFailure(description: "--speculation is off or lookup")
        }
        self.speculation = speculation
        adapter = given["--adapter"]
        guard adapter == nil || benchmark == .accuracy else {
            throw BenchmarkFailure(description: "--adapter goes with accuracy: adapters makes its own")
        }
    }

    private static let known = ["--tokens", "--rounds", "--speculation", "--adapter", "--text"]
}

enum Benchmark: String, CaseIterable {
    case decode, prefill, batch, adapters, lookup, accuracy, embed, scheduler
    case afterPrompt = "after-prompt"

    /// Whether next tokens are guessed where nothing is said about it.
    var speculation: Speculation { self == .lookup ? .lookup : .off }
}

/// An answer of the engine and what it cost.
struct Answer {
    var ids: [Int32] = []
    var usage = GenerationUsage(promptTokens: 0)
}

/// One loaded model under measurement.
struct Measurement {
    let generator: TextGenerator
    let tokens: Int
    var adapters: [any Adapter] = []
    var text: String?

    /// Exactly `count` tokens of prose.
    func prompt(_ count: Int) throws -> [Int32] {
        let text = text ?? Texts.all.joined(separator: "\n\n") + "\n\n"
        var ids: [Int32] = []
        while ids.count < count { ids += try generator.tokens(of: .text(text)) }
        return Array(ids.prefix(count))
    }

    func answer(_ prompt: [Int32], tokens: Int, adapter: (any Adapter)? = nil) async throws -> Answer {
        var answer = Answer()
        let request = GenerationRequest(prompt: prompt, maximumTokens: tokens, adapter: adapter)
        for try await event in generator.engine.generate(request) {
            switch event {
            case .token(let score): answer.ids.append(score.id)
            case .finished(_, let usage): answer.usage = usage
            case .promptScored: break
            }
        }
        guard answer.ids.count == tokens else {
            throw BenchmarkFailure(description: "\(answer.ids.count) tokens came instead of \(tokens)")
        }
        return answer
    }

    /// Tokens a second, and the tokens.
    func round(_ benchmark: Benchmark) async throws -> (speed: Double, outputs: [[Int32]]) {
        switch benchmark {
        case .decode:
            let answer = try await answer(prompt(16), tokens: tokens)
            return (answer.usage.generatedTokensPerSecond, [answer.ids])
        case .prefill:
            let answer = try await answer(prompt(tokens), tokens: 1)
            return (answer.usage.promptTokensPerSecond, [answer.ids])
        case .afterPrompt:
            let answer = try await answer(prompt(512), tokens: tokens)
            return (answer.usage.generatedTokensPerSecond, [answer.ids])
        case .lookup:
            let prompt = try generator.tokens(of: .chat([ChatMessage(role: "user", content: Texts.edit)]))
            let answer = try await answer(prompt, tokens: tokens)
            return (answer.usage.generatedTokensPerSecond, [answer.ids])
        case .accuracy, .embed, .scheduler:
            throw BenchmarkFailure(description: "\(benchmark.rawValue) is not a generation benchmark")
        case .batch, .adapters:
            let prompts = try Texts.all.map { try Array(generator.tokens(of: .text($0)).prefix(16)) }
            let begin = ContinuousClock.now
            let answers = try await withThrowingTaskGroup(of: (Int, Answer).self) { group in
                for (index, prompt) in prompts.enumerated() {
                    let adapter = adapters.isEmpty ? nil : adapters[index % adapters.count]
                    group.addTask { (index, try await answer(prompt, tokens: tokens, adapter: adapter)) }
                }
                var answers = Array(repeating: Answer(), count: prompts.count)
                for try await (index, answer) in group { answers[index] = answer }
                return answers
            }
            let seconds = (ContinuousClock.now - begin).seconds
            return (Double(prompts.count * tokens) / seconds, answers.map(\.ids))
        }
    }

    /// The perplexity of prose: in f32; as prompts are read; and token by token, as answers are computed. Also by how much
    /// the probabilities of next tokens differ from those in f32 where prompts are read: their mean relative entropy,
    /// which is about what perplexity would rise by, without the noise of a sample.
    func perplexities() throws -> JSON {
        let model = generator.pretrained.model
        let ids = try prompt(2048)
        let targets = Array(ids.dropFirst())
        func perplexity(_ loss: Double) -> JSON { .double(exp(loss / Double(targets.count))) }
        func loss(_ hidden: Tensor) -> JSON {
            Runtime.withPrecision(.f32) { perplexity(Double(model.crossEntropy(hidden, targets).scalar)) }
        }
        let exact = Runtime.withPrecision(.f32) { model.hiddenStates(TokenBatch([Array(ids.dropLast())])) }
        var batch = TokenBatch()
        batch.append(ids.dropLast(), cache: model.makeCache(.bf16))
        let read = Runtime.withByteProducts { model.hiddenStates(batch) }
        let decodingLoss = losses(of: ids).reduce(0, +)
        return [
            "benchmark": "accuracy", "tokens": .int(ids.count), "perplexity_f32": loss(exact),
            "perplexity_prompt": loss(read), "perplexity_decode": perplexity(decodingLoss),
            "divergence_prompt": .double(divergence(of: read, from: exact)),
        ]
    }

    /// What each token costs after those before it, token by token.
    private func losses(of ids: [Int32], adapter: (any Adapter)? = nil) -> [Double] {
        let model = generator.pretrained.model
        let cache = model.makeCache(.bf16)
        return zip(ids, ids.dropFirst()).map { id, next in
            var batch = TokenBatch()
            batch.append([id], cache: cache, adapter: adapter)
            return Double(model.logits(model.hiddenStates(batch)).crossEntropy([next]).scalar)
        }
    }

    /// What tokens cost with an adapter as it is computed, in bf16, and how far that is from the adapter in f32. Since
    /// activations are rounded to 8 bits, any change may tip some of them over: beside it is what a change of the adapter
    /// by a millionth does, and what the adapter does at all.
    func adapterAccuracy(_ directory: String) throws -> JSON {
        let ids = try prompt(tokens)
        let adapter = try LoRAAdapter.load(from: directory, for: generator.pretrained.model)
        let values = adapter.parameters.map { $0.value.converted(to: .f32) }
        func adapted(_ change: (Tensor) -> Tensor) -> [Double] {
            for (parameter, value) in zip(adapter.parameters, values) { parameter.value = change(value) }
            // Copies in f32, so that nothing but the change differs
            return Runtime.withPrecision(.f32) { losses(of: ids, adapter: adapter) }
        }
        let exact = adapted { $0 }
        let rounded = adapted { $0.converted(to: .bf16).converted(to: .f32) }
        let moved = adapted { $0 * (1 + 1e-6) }
        let plain = Runtime.withPrecision(.f32) { losses(of: ids) }
        func perplexity(_ losses: [Double]) -> JSON { .double(exp(losses.reduce(0, +) / Double(losses.count))) }
        func difference(_ losses: [Double]) -> JSON {
            let all = zip(losses, exact).map { abs($0 - $1) }.sorted()
            return [
                "mean": .double(all.reduce(0, +) / Double(all.count)), "median": .double(all[all.count / 2]),
                "most": .double(all[all.count - 1]),
            ]
        }
        return [
            "benchmark": "accuracy", "tokens": .int(ids.count), "perplexity_f32": perplexity(exact),
            "perplexity_bf16": perplexity(rounded), "perplexity_moved": perplexity(moved),
            "perplexity_without": perplexity(plain), "difference_bf16": difference(rounded),
            "difference_moved": difference(moved), "difference_without": difference(plain),
        ]
    }

    /// The mean relative entropy of next tokens after some hidden states to those after others.
    private func divergence(of states: Tensor, from reference: Tensor) -> Double {
        let model = generator.pretrained.model
        var sum = 0.0
        let (rows, step) = (reference.shape[0], 64)
        for begin in stride(from: 0, to: rows, by: step) {
            let part = max(0, min(begin, rows - step))..<min(rows, begin + step)
            let (p, q) = Runtime.withPrecision(.f32) {
                (model.logits(reference.rows(part)).softmax(), model.logits(states.rows(part)).softmax())
            }
            let (expected, found) = (p.values(), q.values())
            // The last part begins earlier, so that none goes the way of few rows
            let skipped = (begin - part.lowerBound) * p.shape[1]
            for index in skipped..<p.count where expected[index] > 0 {
                sum += Double(expected[index]) * log(Double(expected[index]) / max(Double(found[index]), 1e-300))
            }
        }
        return sum / Double(rows)
    }

    /// What the outputs must be.
    func expected(_ benchmark: Benchmark) async throws -> [[Int32]] {
        guard benchmark == .batch || benchmark == .adapters else { return try await round(benchmark).outputs }
        var outputs: [[Int32]] = []
        for (index, text) in Texts.all.enumerated() {
            let prompt = Array(try generator.tokens(of: .text(text)).prefix(16))
            let adapter = adapters.isEmpty ? nil : adapters[index % adapters.count]
            outputs.append(try await answer(prompt, tokens: tokens, adapter: adapter).ids)
        }
        return outputs
    }
}

/// Adapters of rank 8 on queries and values, one for each of the streams.
func adapters(for model: any LanguageModel) throws -> [any Adapter] {
    try (0..<8).map { seed in
        let adapter = try LoRAAdapter(
            LoRAConfiguration(rank: 8, targets: ["q_proj", "v_proj"]), adapting: model.linears, seed: UInt64(seed))
        var random = RandomGenerator(seed: UInt64(seed))
        for (_, pair) in adapter.pairs.sorted(by: { $0.key < $1.key }) {
            pair.b.value = .normal(pair.b.value.shape, standardDeviation: 0.02, using: &random)
        }
        return adapter
    }
}

/// Microseconds of a step of the scheduler with 64 sequences that take a token each.
func schedulerCost(_ round: Int, steps: Int) -> JSON {
    var scheduler = Scheduler(Scheduler.Limits(sequences: 64, tokens: 576, context: 4096, pages: 4096))
    for id in 0..<64 {
        scheduler.add(
            id, prompt: (0..<100).map { Int32($0 * 7 + id) }, maximumTokens: 2000, endIDs: [2], client: "\(id % 4)")
    }
    func step() -> Bool {
        let plan = scheduler.schedule()
        var outcomes: [SequenceID: StepResult.Outcome] = [:]
        for run in plan.runs { outcomes[run.id] = run.samples ? .sampled([5]) : .computed }
        _ = scheduler.apply(plan, StepResult(outcomes))
        return plan.runs.allSatisfy { $0.tokens.count == 1 } && plan.runs.count == 64
    }
    while !step() {}
    var times: [Double] = []
    for _ in 0..<steps {
        let begin = ContinuousClock.now
        _ = step()
        times.append((ContinuousClock.now - begin).seconds * 1e6)
    }
    times.sort()
    return [
        "benchmark": "scheduler", "round": .int(round), "sequences": 64, "steps": .int(steps),
        "microseconds_median": .double(times[times.count / 2]),
        "microseconds_p95": .double(times[times.count * 95 / 100]),
    ]
}

extension Duration {
    var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}

/// CPU time that the process has used.
func cpuSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}

func run() async throws {
    #if DEBUG
        throw BenchmarkFailure(description: "a debug build says nothing about speed: build with -c release")
    #else
        let options = try Options(Array(CommandLine.arguments.dropFirst()))
        if options.benchmark == .embed {
            let measured = try EmbeddingMeasurement(options.model)
            for _ in 0..<options.rounds { print(try measured.round().text()) }
            return
        }
        if options.benchmark == .scheduler {
            for round in 0..<options.rounds { print(schedulerCost(round, steps: options.tokens).text()) }
            return
        }
        let begin = ContinuousClock.now
        let pretrained = try PretrainedModel.load(options.model)
        let loadSeconds = (ContinuousClock.now - begin).seconds
        func measurement(_ speculation: Speculation) throws -> Measurement {
            let configuration = EngineConfiguration(speculation: speculation)
            return Measurement(
                generator: try TextGenerator(pretrained, configuration: configuration), tokens: options.tokens,
                adapters: options.benchmark == .adapters ? try adapters(for: pretrained.model) : [], text: options.text)
        }
        if options.benchmark == .accuracy {
            let measured = try measurement(.off)
            print(try (options.adapter.map(measured.adapterAccuracy) ?? measured.perplexities()).text())
            return
        }
        let expected = try await measurement(.off).expected(options.benchmark)
        let measured = try measurement(options.speculation)
        for index in 0..<options.rounds {
            // Every round computes its prompts itself
            await measured.generator.engine.forgetPrefixes()
            var withoutAdapters: Double?
            if options.benchmark == .adapters {
                var plain = measured
                plain.adapters = []
                withoutAdapters = try await plain.round(.batch).speed
                await measured.generator.engine.forgetPrefixes()
            }
            let (before, cpuBefore) = (await measured.generator.engine.statistics, cpuSeconds())
            let (speed, outputs) = try await measured.round(options.benchmark)
            let (after, cpuAfter) = (await measured.generator.engine.statistics, cpuSeconds())
            guard outputs == expected else {
                throw BenchmarkFailure(description: "round \(index) brought other tokens than the check")
            }
            let line: JSON = [
                "benchmark": .string(options.benchmark.rawValue), "round": .int(index), "tokens": .int(options.tokens),
                "tokens_per_second": .double(speed), "cpu_seconds": .double(cpuAfter - cpuBefore),
                "load_seconds": .double(loadSeconds), "checked": .bool(true),
                "speculation": [
                    "mode": .string(options.speculation.rawValue),
                    "proposed": .int(after.speculation.proposed - before.speculation.proposed),
                    "accepted": .int(after.speculation.accepted - before.speculation.accepted),
                ],
                "kernels": .string(Runtime.shared.kernelName), "threads": .int(Runtime.shared.threads.threadCount),
            ]
            var members = line.object ?? JSONObject()
            if let withoutAdapters { members["tokens_per_second_without"] = .double(withoutAdapters) }
            print(JSON.object(members).text())
            fflush(nil)
        }
    #endif
}

do {
    try await run()
} catch {
    FileHandle.standardError.write(Data("EngineBenchmark: \(error)\n".utf8))
    exit(1)
}
