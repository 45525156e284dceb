// Times whole training steps: forward pass, backward pass and AdamW, through the code that training uses. The sizes,
// the initialisation and the tokens (random, new ones each step) are those of scripts/bench's peers. Run in release mode:
//
//     swift run -c release TrainingBenchmark pretrain small|big [STEPS] [recompute] [adamw_8bit]
//     swift run -c release TrainingBenchmark lora MODEL [STEPS] [recompute] [adamw_8bit]
//     swift run -c release TrainingBenchmark gradients MODEL TEXT [BATCHES]
//
// With `recompute` the blocks' activations are computed again for the backward pass instead of kept; with `adamw_8bit`
// moments are in 8 bits.
// Prints one line of JSON: tokens a second of each step, their median after the first two, the losses, CPU seconds of
// each step, and the most memory that the process ever had resident. `gradients` says how far those of an adapter are from
// their values in f32, in each precision.

import Foundation
import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTraining

/// A model to train, how, and on how many tokens a step.
struct Subject {
    var name: String
    var model: any LanguageModel
    var adapter: LoRAAdapter?
    var sequences: Int
    var tokens: Int
    var learningRate: Float

    var parameters: [Parameter] { adapter?.parameters ?? model.parameters }
}

struct Usage: Error, CustomStringConvertible {
    let description =
        """
        usage: TrainingBenchmark (pretrain small|big | lora MODEL) [STEPS] [recompute] [adamw_8bit]
               TrainingBenchmark gradients MODEL TEXT [BATCHES]
        """
}

func pretraining(_ size: String) throws -> Subject {
    let sizes = ["small": (4096, 256, 8, 8, 704, 256, 16), "big": (32768, 768, 12, 12, 2048, 512, 4)]
    guard let (vocabulary, dim, layers, heads, inner, context, batch) = sizes[size] else { throw Usage() }
    let configuration: JSON = [
        "model_type": "llama", "vocab_size": .int(vocabulary), "hidden_size": .int(dim),
        "intermediate_size": .int(inner), "num_hidden_layers": .int(layers), "num_attention_heads": .int(heads),
        "max_position_embeddings": .int(context), "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": true, "hidden_act": "silu",
    ]
    let model = try LanguageModels.build(configuration, source: size, Weights(RandomWeights(seed: 0)))
    return Subject(name: "pretrain \(size)", model: model, sequences: batch, tokens: context, learningRate: 3e-4)
}

func lowRank(_ path: String) throws -> Subject {
    let model = try PretrainedModel.load(path).model
    let adapter = try LoRAAdapter(LoRAConfiguration(), adapting: model.linears, seed: 0)
    return Subject(name: "lora", model: model, adapter: adapter, sequences: 4, tokens: 256, learningRate: 1e-4)
}

/// CPU seconds of all threads so far, and the peak of resident memory in bytes.
func resources() -> (seconds: Double, peakBytes: Int) {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
    return (seconds(usage.ru_utime) + seconds(usage.ru_stime), usage.ru_maxrss * 1024)
}

/// Takes the steps, and reports.
func measure(_ subject: Subject, steps: Int, recomputes: Bool, _ kind: OptimizerSettings.Kind) throws -> JSON {
    let clock = ContinuousClock()
    let vocabulary = subject.model.facts.vocabularySize
    let nothing = TokenizedDataset(source: "random", examples: [])
    let task = LanguageModelTask(model: subject.model, adapter: subject.adapter, training: nothing)
    var optimizer = OptimizerSettings(kind, weightDecay: 0.01).make(subject.parameters)
    var generator = RandomGenerator(seed: 1)
    let tokensAStep = subject.sequences * subject.tokens
    var (rates, processorSeconds, losses): ([Double], [Double], [Double]) = ([], [], [])
    let panels = PanelStore()
    for _ in 0..<steps {
        let examples = (0..<subject.sequences).map { _ in
            let tokens = (0...subject.tokens).map { _ in
                Int32(min(vocabulary - 1, Int(generator.uniform() * Float(vocabulary))))
            }
            return TokenizedExample(tokens: tokens, isTarget: tokens.map { _ in true })
        }
        let before = resources().seconds
        let elapsed = clock.measure {
            // As a run has it that clips no gradients; nor do the peers
            Runtime.withPanels(panels) {
                optimizer.beginStep(learningRate: subject.learningRate)
                let loss = Runtime.withByteProducts {
                    valueAndGradients(of: subject.parameters) {
                        Runtime.withRecomputation(recomputes) { task.summedLoss(of: examples) }
                            * (1 / Float(tokensAStep))
                    } whenComplete: {
                        optimizer.move($0, against: $1)
                    }
                }
                losses.append(Double(loss.scalar))
            }
        }
        rates.append(Double(tokensAStep) / (elapsed / .seconds(1)))
        processorSeconds.append(resources().seconds - before)
    }
    guard losses.allSatisfy(\.isFinite) else { throw MoruError(.trainingDiverged, "the losses are \(losses)") }
    let steady = rates.dropFirst(min(2, rates.count - 1)).sorted()
    func rounded(_ value: Double, _ unit: Double) -> JSON { .double((value / unit).rounded() * unit) }
    return [
        "name": .string(subject.name), "parameters": .int(subject.parameters.reduce(0) { $0 + $1.value.count }),
        "kernels": .string(Runtime.shared.kernelName), "threads": .int(Runtime.shared.threads.threadCount),
        "precision": .string(Runtime.shared.precision.rawValue),
        "tokens_per_second": rounded(steady[steady.count / 2], 0.1),
        "peak_mb": rounded(Double(resources().peakBytes) / 1e6, 0.1),
        "allocator_peak_mb": rounded(Double(Allocator.shared.statistics.peakBytes) / 1e6, 0.1),
        "steps": .array(rates.map { rounded($0, 0.1) }), "losses": .array(losses.map { rounded($0, 1e-5) }),
        "cpu_seconds": .array(processorSeconds.map { rounded($0, 1e-3) }),
    ]
}

#if DEBUG
    FileHandle.standardError.write(
        Data("error: build the benchmark with `-c release`; a debug build says nothing.\n".utf8))
    exit(1)
#else
    do {
        let arguments = CommandLine.arguments.dropFirst()
        guard let kind = arguments.first, let name = arguments.dropFirst().first else { throw Usage() }
        if kind == "gradients" {
            guard let text = arguments.dropFirst(2).first else { throw Usage() }
            let batches = Int(arguments.dropFirst(3).first ?? "") ?? 4
            print(try compareGradients(name, text: text, batches: batches).text(sortedKeys: false))
            exit(0)
        }
        let steps = max(1, arguments.count > 2 ? Int(arguments.dropFirst(2).first ?? "") ?? 8 : 8)
        let subject =
            switch kind {
            case "pretrain": try pretraining(name)
            case "lora": try lowRank(name)
            default: throw Usage()
            }
        let optimizer = arguments.contains("adamw_8bit") ? OptimizerSettings.Kind.adamw8Bit : .adamw
        let recomputes = arguments.contains("recompute")
        print(try measure(subject, steps: steps, recomputes: recomputes, optimizer).text(sortedKeys: false))
    } catch {
        FileHandle.standardError.write(Data("error: \(error)\n".utf8))
        exit(1)
    }
#endif
