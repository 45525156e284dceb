import Foundation
import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruText

/// Some rows of an example set, such as those that are held out.
struct RowRange: ExampleSet {
    let whole: any ExampleSet
    let range: Range<Int>

    var source: String { whole.source }
    var count: Int { range.count }
    func size(of index: Int) -> ExampleSize { whole.size(of: range.lowerBound + index) }
    func sequences(of index: Int) -> [TokenizedExample] { whole.sequences(of: range.lowerBound + index) }

    var fingerprintText: String {
        var fingerprint = Fingerprint()
        fingerprint.add(whole.fingerprintText)
        fingerprint.add(range.lowerBound)
        fingerprint.add(range.upperBound)
        return fingerprint.description
    }
}

/// Next-token prediction on rows of packed documents. Validation also reports `bits_per_byte`: what the model needs for a
/// byte of the held-out text, which can be compared between tokenizers.
struct PretrainingTask: TrainingTask {
    let model: any LanguageModel
    let training: any ExampleSet
    let validation: (any ExampleSet)?
    /// Bytes of text that a target of the validation stands for, on average.
    private let bytesPerTarget: Double

    init(
        model: any LanguageModel, tokenizer: Tokenizer, training: any ExampleSet, validation: (any ExampleSet)?
    ) {
        self.model = model
        self.training = training
        self.validation = validation
        let byteCounts = tokenizer.byteCounts
        var (bytes, targets) = (0, 0)
        for index in 0..<(validation?.count ?? 0) {
            for sequence in validation?.sequences(of: index) ?? [] {
                bytes += sequence.tokens.dropFirst().reduce(0) { $0 + byteCounts[Int($1)] }
                targets += sequence.targetCount
            }
        }
        bytesPerTarget = Double(max(1, bytes)) / Double(max(1, targets))
    }

    private func examples(_ split: DataSplit) -> (any ExampleSet)? { split == .training ? training : validation }

    func count(of split: DataSplit) -> Int { examples(split)?.count ?? 0 }

    func size(of example: Int, in split: DataSplit) -> ExampleSize {
        examples(split)?.size(of: example) ?? ExampleSize(inputs: 0, targets: 0)
    }

    func summedLoss(of examples: [Int], in split: DataSplit, dropout: DropoutSource?) -> Tensor {
        let set = self.examples(split)
        return model.summedLoss(
            of: TargetBatch(examples.flatMap { set?.sequences(of: $0) ?? [] }, adapter: nil, dropout: dropout))
    }

    func measure(_ examples: [Int], in split: DataSplit) -> TaskMeasurement {
        let loss = Double(summedLoss(of: examples, in: split, dropout: nil).scalar)
        return TaskMeasurement(loss: loss, others: ["bits_per_byte": bitsPerByte(loss)])
    }

    /// Bits for a byte of the held-out text, from nats for a token of it.
    func bitsPerByte(_ loss: Double) -> Double { loss / log(2) / bytesPerTarget }

    /// The model's configuration and start, and every token of the data.
    var identity: [(key: String, value: String)] {
        [
            ("the model's start", model.fingerprintText), ("the training data", training.fingerprintText),
            ("the validation data", validation?.fingerprintText ?? "none"),
        ]
    }

    func diagnosis() -> String? { model.diagnosis(nil) }
}

extension Tokenizer {
    /// The bytes of text that each id stands for; 0 for special tokens.
    var byteCounts: [Int] {
        (0..<Int32(vocabularySize)).map { isSpecial($0) ? 0 : bytes(of: $0).count }
    }
}
