import Foundation
import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTraining

/// The losses and gradients of an adapter in each precision, beside those in f32, over 1,024 tokens of a text at a time:
/// the differences of the losses, and of all gradients together the cosine and the norm of the difference over the norm.
///
/// The adapter's second factors are not zero, so that every gradient has a part in it.
func compareGradients(_ path: String, text: String, batches: Int) throws -> JSON {
    let pretrained = try PretrainedModel.load(path)
    let model = pretrained.model
    let adapter = try LoRAAdapter(LoRAConfiguration(), adapting: model.linears, seed: 0)
    var generator = RandomGenerator(seed: 2)
    for parameter in adapter.parameters where parameter.path.hasSuffix("lora_B.weight") {
        parameter.value = .normal(parameter.value.shape, standardDeviation: 0.01, using: &generator)
    }
    let tokens = pretrained.tokenizer.encode(try String(contentsOfFile: text, encoding: .utf8))
    let task = LanguageModelTask(
        model: model, adapter: adapter, training: TokenizedDataset(source: text, examples: []))
    let panels = PanelStore()
    func gradients(_ examples: [TokenizedExample], _ precision: Precision) -> (loss: Double, values: [Float]) {
        let (loss, gradients) = Runtime.withPrecision(precision) {
            Runtime.withByteProducts {
                Runtime.withPanels(panels) {
                    valueAndGradients(of: adapter.parameters) { task.summedLoss(of: examples) * (1 / 1024) }
                }
            }
        }
        return (Double(loss.scalar), gradients.flatMap { $0.values() })
    }
    var lines: [JSON] = []
    for batch in 0..<min(batches, tokens.count / 1028) {
        let examples = (0..<4).map { part in
            let start = batch * 1028 + part * 257
            return TokenizedExample(
                tokens: Array(tokens[start..<start + 257]), isTarget: Array(repeating: true, count: 257))
        }
        let exact = gradients(examples, .f32)
        for precision in [Precision.bf16, .automatic] {
            let found = gradients(examples, precision)
            var (product, square, exactSquare, difference) = (0.0, 0.0, 0.0, 0.0)
            for (a, b) in zip(found.values, exact.values) {
                product += Double(a) * Double(b)
                square += Double(a) * Double(a)
                exactSquare += Double(b) * Double(b)
                difference += Double(a - b) * Double(a - b)
            }
            lines.append([
                "precision": .string(precision.rawValue), "loss": .double(exact.loss),
                "loss_difference": .double(found.loss - exact.loss),
                "cosine": .double(product / (square * exactSquare).squareRoot()),
                "relative_difference": .double((difference / exactSquare).squareRoot()),
            ])
        }
    }
    return ["name": "gradients", "batches": .array(lines)]
}
